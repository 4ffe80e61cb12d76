'use strict';
'require dom';
'require form';
'require poll';
'require rpc';
'require view';

const callStatus = rpc.declare({
	object: 'luci.acmeiot',
	method: 'status'
});

function day(seconds) {
	return seconds ? new Date(seconds * 1000).toISOString().substring(0, 10) : _('not yet');
}

function named(item) {
	return item.on ? _('%s on %s').format(item.what, item.on) : item.what;
}

// What is shown comes from the server, which may have been broken into, and this page has the rights
// of root. LuCI takes a bare string for HTML and one in a list for text, so all that is shown stands
// in lists, and a row is one: its title and what is shown beside it.
function rows(status) {
	if (status.stopped)
		return [[_('State'), _('Not running')]];

	if (!status.root)
		return [[_('State'), _('Starting')]];

	const found = [
		[_('State'), status.clock.doubt ? _('Waiting for the right time') : _('Running')],
		[_('Directory'), E('code', {}, [status.directory])],
		[_('Root'), '%s, %s'.format(status.root.name, _('good until %s').format(day(status.root.not_after)))],
		[_('Fingerprint'),
			E('code', {}, [status.root.words]), E('br'), E('code', {}, ['sha256:' + status.root.sha256])],
		[_('Devices'), _('%d allowed, %d waiting for you').format(
			status.devices.approved, status.devices.pending)],
		[_('Certificates'), '%d'.format(status.certificates)],
		[_('New devices'), status.window_ends
			? _('allowed by themselves until %s').format(new Date(status.window_ends * 1000).toLocaleTimeString())
			: _('wait for you')]
	];

	const items = status.announced.flatMap((report) => report.items);
	const told = items.filter((item) => !item.why_not).map(named);

	found.push([_('Announced'), told.join(', ') || _('nothing')]);

	for (let item of items)
		if (item.why_not)
			found.push([_('Not announced'), '%s: %s'.format(named(item), item.why_not)]);

	for (let report of status.announced)
		for (let problem of report.problems)
			found.push([_('Problem'), problem]);

	return found;
}

function table(found) {
	return E('table', { 'class': 'table' }, found.map(([title, ...shown]) =>
		E('tr', { 'class': 'tr' }, [
			E('td', { 'class': 'td left', 'width': '25%' }, [title]),
			E('td', { 'class': 'td left' }, shown)
		])));
}

function state(status) {
	// What is thrown LuCI shows as HTML, and without the switch that stops the server.
	try {
		return table(rows(status));
	} catch {
		return table([[_('State'), _('Not understood')]]);
	}
}

return view.extend({
	load() {
		return L.resolveDefault(callStatus(), { stopped: true });
	},

	render(status) {
		const shown = E('div', { 'class': 'cbi-section' }, [state(status)]);
		const trust = E('a', {
			'class': 'btn cbi-button',
			'target': '_blank',
			'rel': 'noopener',
			'href': 'http://%s:%d/trust'.format(window.location.hostname,
				Number.isInteger(status.http_port) ? status.http_port : 8556)
		}, [_('Trust this home on a computer or phone')]);

		const map = new form.Map('acmeiot', _('Home certificates'),
			_('Gives the printers, cameras and other devices of this home certificates that browsers accept, with no cloud.'));

		const section = map.section(form.NamedSection, 'main', 'acmeiot');
		section.anonymous = true;

		let option = section.option(form.Flag, 'enabled', _('Enable'));
		option.rmempty = false;

		option = section.option(form.ListValue, 'approval', _('New devices'));
		option.value('ask', _('wait until you allow them'));
		option.value('auto', _('need only prove their name'));
		option.depends('enabled', '1');
		option.retain = true;

		poll.add(() => L.resolveDefault(callStatus(), { stopped: true })
			.then((now) => dom.content(shown, [state(now)])), 5);

		return map.render().then((page) => {
			page.insertBefore(E('div', {}, [shown, E('p', {}, [trust])]), page.children[2] || null);
			return page;
		});
	}
});
