// LuCI's page with small stand-ins for what LuCI gives it: prints what is shown in the state that
// is given, as JSON. usage: node luci.js overview.js STATUS
'use strict';
const fs = require('fs');

// As LuCI's cbi.js: %d makes a number of anything, and %s escapes nothing.
String.prototype.format = function(...values) {
	return this.replace(/%[sd]/g, (kind) => {
		const value = values.shift();
		return kind === '%d' ? Math.floor(+value || 0).toFixed(0) : `${value}`;
	});
};

// As LuCI's dom.append: what stands in a list is an element or text; a bare value is HTML.
class Element {
	nodeType = 1;
	children = [];
	constructor(tag, attributes) { Object.assign(this, { tag, attributes }); }
	appendChild(node) {
		if (!(node instanceof Element))
			throw new TypeError('this is not a Node');
		this.children.push(node);
	}
}
const html = [];
const isElement = (value) => value != null && typeof value === 'object' && 'nodeType' in value;
const append = (node, children) => {
	if (Array.isArray(children)) {
		for (const each of children)
			isElement(each) ? node.appendChild(each) : node.children.push(`${each}`);
	} else if (typeof children === 'function') {
		append(node, children(node));
	} else if (isElement(children)) {
		node.appendChild(children);
	} else if (children != null) {
		html.push(`${children}`);
		node.children = [{ html: `${children}` }];
	}
};
const E = (tag, attributes, children) => {
	if (!(attributes instanceof Object) || Array.isArray(attributes))
		[attributes, children] = [{}, attributes];
	const made = new Element(tag, attributes);
	append(made, children);
	return made;
};

// What a person sees: of HTML, that is what is left beside its tags.
const text = (node) => node.html !== undefined ? node.html.replace(/<[^>]*>/g, '')
	: node.children ? node.children.map(text).join('') : node;
const found = (nodes, tag) => nodes.flatMap((each) => !each.children ? []
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
	dom: { content: (node, inner) => { node.children = []; append(node, inner); } },
	form: { Map, NamedSection: 'NamedSection', Flag: 'Flag', ListValue: 'ListValue' },
	poll: { add: (each, seconds) => polls.push([each, seconds]) },
	rpc: { declare: () => () => status === 'broken' ? Promise.reject(new Error('<b>gone</b>')) : Promise.resolve(status) },
	view: { extend: (made) => made },
	window: { location: { hostname: '192.168.1.1' } }
};
const source = fs.readFileSync(process.argv[2], 'utf8');
const view = Function(...Object.keys(given), source)(...Object.values(given));

const shown = () => found(page.children, 'tr').map((row) => row.children.map(text));
view.load().then((now) => view.render(now)).then(() => {
	const first = shown();
	return Promise.all(polls.map(([each]) => each())).then(() => console.log(JSON.stringify({
		title: page.title, first, later: shown(), html, polled: polls.map(([, seconds]) => seconds),
		links: found(page.children, 'a').map((a) => a.attributes.href),
		options: options.map(({ name, values }) => [name, ...values])
	})));
});
