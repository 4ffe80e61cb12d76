// LuCI's page with small stand-ins for what LuCI gives it: prints what is shown in the state that
// is given, as JSON. usage: node luci.js overview.js STATUS
'use strict';
const fs = require('fs');

String.prototype.format = function(...values) {
	return this.replace(/%[sd]/g, () => String(values.shift()));
};

const text = (node) => Array.isArray(node) ? node.map(text).join('')
	: node && node.children ? text(node.children) : node == null ? '' : String(node);
const E = (tag, attributes, children) => {
	if (!children && (Array.isArray(attributes) || typeof attributes === 'string'))
		[attributes, children] = [{}, attributes];
	return { tag, attributes, children: [].concat(children ?? []) };
};
const found = (node, tag) => [].concat(node).flatMap((each) => !each || !each.children ? []
	: [...(each.tag === tag ? [each] : []), ...found(each.children, tag)]);

const options = [];
const polls = [];
const status = JSON.parse(process.argv[3]);
const page = {
	children: [],
	insertBefore(node) { this.children.unshift(node); }
};
class Section {
	option(kind, name, title) {
		const made = { kind, name, title, values: [], value(v) { this.values.push(v); }, depends() {} };
		options.push(made);
		return made;
	}
}
class Map {
	constructor(config, title) { this.config = config; page.title = title; }
	section() { return new Section(); }
	render() { return Promise.resolve(page); }
}
const given = {
	L: { resolveDefault: (promise, otherwise) => Promise.resolve(promise).catch(() => otherwise) },
	E,
	_: (words) => words,
	dom: { content: (node, inner) => { node.children = [inner]; } },
	form: { Map, NamedSection: 'NamedSection', Flag: 'Flag', ListValue: 'ListValue' },
	poll: { add: (each, seconds) => polls.push([each, seconds]) },
	rpc: { declare: () => () => status === 'broken' ? Promise.reject(new Error('gone')) : Promise.resolve(status) },
	view: { extend: (made) => made },
	window: { location: { hostname: '192.168.1.1' } }
};
const source = fs.readFileSync(process.argv[2], 'utf8');
const view = Function(...Object.keys(given), source)(...Object.values(given));

const shown = () => found(page.children, 'tr').map((row) => row.children.map(text));
view.load().then((now) => view.render(now)).then(() => {
	const first = shown();
	return Promise.all(polls.map(([each]) => each())).then(() => console.log(JSON.stringify({
		title: page.title, first, later: shown(), polled: polls.map(([, seconds]) => seconds),
		links: found(page.children, 'a').map((a) => a.attributes.href),
		options: options.map(({ name, values }) => [name, ...values])
	})));
});
