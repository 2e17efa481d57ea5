'use strict';
// Draws what /events tells, anew whenever it changes. Whatever comes from the cluster becomes text, never markup.
(() => {
const $ = id => document.getElementById(id);
const add = (node, kids) => { for (const kid of kids.flat(9)) if (kid != null && kid !== false) node.append(kid); return node; };
const put = (node, attributes) => { for (const [key, value] of Object.entries(attributes || {})) if (value != null && value !== false) node.setAttribute(key, value); return node; };
const el = (tag, attributes, ...kids) => add(put(document.createElement(tag), attributes), kids);
const svg = (tag, attributes, ...kids) => add(put(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes), kids);
const plural = (count, one, many) => `${count} ${count === 1 ? one : many || one + 's'}`;
const tag = (kind, text) => el('span', { class: `tag k-${kind || 'plain'}` }, text);
const mono = text => el('span', { class: 'mono' }, text);
const soft = text => text && el('span', { class: 'soft' }, text);
const MANY = 300;

let state = null, skew = 0, drawn = {}, seen = null;

// Times: the agent's clock counts, not this browser's.
const now = () => Date.now() + skew;
const ago = at => {
  const seconds = Math.max(0, Math.round((now() - Date.parse(at)) / 1000));
  for (const [size, unit] of [[86400, 'd'], [3600, 'h'], [60, 'min']]) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${seconds} s`;
};
const time = ms => ms < 1000 ? `${ms} ms` : `${+(ms / 1000).toFixed(1)} s`;
const since = at => at ? el('time', { datetime: at, title: new Date(at).toLocaleString(), 'data-ago': at }, ago(at)) : '–';
const clock = at => {
  const time = new Date(at), today = time.toDateString() === new Date(now()).toDateString();
  return today ? time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })
    : time.toLocaleDateString([], { month: 'short', day: 'numeric' });
};

// "why; what to do", as Lanlord's texts are.
const reason = text => {
  const at = text.indexOf('; ');
  return at < 0 ? [text] : [text.slice(0, at), el('span', { class: 'do' }, text.slice(at + 2))];
};

// A table of columns [heading, cell of an entry]; what is new since the last state lights up.
const table = (name, columns, entries, key, why) => {
  if (!entries.length) return el('p', { class: 'empty' }, 'None.');
  const body = entries.map(entry => {
    const signature = key(entry), fresh = seen && !seen.has(`${name} ${signature}`);
    marks.add(`${name} ${signature}`);
    const row = el('tr', { class: fresh && 'new' }, columns.map(([label, cell]) => el('td', { 'data-label': label }, el('div', null, cell(entry)))));
    const more = why && why(entry);
    return more ? [row, el('tr', { class: 'why' }, el('td', { class: 'wide', colspan: columns.length }, more))] : row;
  });
  return el('table', null, el('caption', null, name), el('thead', null, el('tr', null, columns.map(([label]) => el('th', { scope: 'col' }, label)))), el('tbody', null, body));
};
let marks = new Set();

const count = n => n < 1e6 ? n.toLocaleString('en') : `about 2^${Math.round(Math.log2(n))}`;
const host = net => net.split('/')[0];
const bare = remote => remote ? remote.replace(/:\d+$/, '').replace(/^\[|\]$/g, '') : '';
const leader = () => (state.leader || '').split('/')[0];
const announcedBy = node => state.services.filter(it => it.owner === node || it.overBgp.includes(node));
const lives = member => member.living;

// How a member is, in a colour and a few words.
const stand = member => {
  if (member.state === 'self') return ['good', 'this agent'];
  if (member.evidence || member.state === 'suspected') return ['bad', 'lost'];
  if (member.state === 'left') return ['soft', 'takes no part'];
  if (member.suspectedBy) return ['warn', 'suspected'];
  if (member.heard) return ['good', 'heard'];
  return [member.state === 'unwatched' || member.state === 'remote' ? 'good' : 'warn', { unheard: 'not heard yet', asking: 'silent, being asked', holding: 'agent away', refuted: 'not heard', unwatched: 'watched by others', remote: 'in another network' }[member.state] || member.state];
};
const notes = member => [
  member.cordoned && 'cordoned', member.detached && 'does not reach the API server', member.dataplaneUnhealthy && 'kube-proxy fails',
  member.nodeReady === false && 'Node not Ready', member.blocked && 'liveness packets do not come',
  member.configuration && state.configuration && member.configuration !== state.configuration && 'runs another configuration',
].filter(Boolean);

function tiles() {
  const ours = state.services.filter(it => it.state !== 'foreign'), announced = ours.filter(it => it.state === 'announced').length;
  const pending = ours.filter(it => it.state === 'pending').length;
  const family = state.pools.some(pool => pool.v4) || !state.pools.length ? 'v4' : 'v6';
  const pools = state.pools.map(pool => pool[family]).filter(Boolean), sum = key => pools.reduce((sum, it) => sum + it[key], 0);
  const members = state.members.filter(member => member.instance || member.nodeReady != null), alive = members.filter(lives).length;
  const up = state.bgp.filter(peer => peer.state === 'Established').length;
  const tile = (kind, value, of, words) => el('li', { class: kind }, el('b', null, value, el('small', null, of)), el('span', null, words));
  $('tiles').replaceChildren(
    tile(pending && 'warn', String(announced), ` of ${ours.length}`, 'Services announced'),
    tile(pools.length && sum('free') === 0 && 'warn', pools.length ? count(sum('free')) : '–', pools.length ? ` of ${count(sum('total'))}` : '', `IP${family} addresses free`),
    tile(alive < members.length && 'bad', String(alive), ` of ${members.length}`, 'members alive'),
    ...(state.bgp.length ? [tile(up < state.bgp.length && 'bad', String(up), ` of ${state.bgp.length}`, 'BGP sessions up')] : []),
    tile(!leader() && 'bad', leader() || 'none', '', 'leads'));
}

function problems() {
  $('problems').hidden = !state.problems.length;
  $('problem-list').replaceChildren(...state.problems.slice(0, 20).map(it => el('li', null, it.what, el('span', { class: 'do' }, it.action))),
    ...(state.problems.length > 20 ? [el('li', { class: 'soft' }, `and ${state.problems.length - 20} more`)] : []));
}

// Services: what needs a look first.
const ORDER = { pending: 0, new: 1, announced: 2, deleting: 3, foreign: 4 };
function services() {
  const wanted = $('filter').value.trim().toLowerCase();
  const all = state.services.filter(it => !wanted || [it.service, it.owner, it.state, ...it.addresses, ...it.overBgp].some(text => text && text.toLowerCase().includes(wanted)));
  all.sort((a, b) => ORDER[a.state] - ORDER[b.state] || (a.service < b.service ? -1 : 1));
  const name = it => {
    const [namespace, name] = it.service.split('/');
    return [el('b', null, name), soft([namespace, it.ports.join(', '), it.local && 'Local'].filter(Boolean).join(' · '))];
  };
  const by = it => {
    if (it.state === 'foreign') return tag('', 'left alone');
    if (it.state === 'deleting') return tag('', 'being deleted');
    if (it.state === 'new') return tag('acc', 'new');
    if (it.state === 'pending') return tag('warn', 'pending');
    return [it.owner, it.owner && it.overBgp.length ? ' ' : null, it.overBgp.length ? [tag('acc', 'BGP'), ' ', it.overBgp.join(', ')] : null, it.moved && soft(`moved ${it.moved}`)];
  };
  const columns = [['Service', name], ['Address', it => it.addresses.map(mono)], ['Announced by', by], ['Since', it => since(it.since)], ['Pool', it => it.pools.join(', ') || '–']];
  const key = it => JSON.stringify([it.service, it.state, it.addresses, it.owner, it.overBgp]);
  const shown = table('Services', columns, all.slice(0, MANY), key, it => it.why && el('div', { class: it.state === 'foreign' && 'soft' }, reason(it.why)));
  const none = wanted ? 'No Service matches.' : 'No Service of type LoadBalancer yet: kubectl expose deployment NAME --port 80 --type LoadBalancer';
  $('service-table').replaceChildren(all.length ? shown : el('p', { class: 'empty' }, none),
    ...(all.length > MANY ? [el('p', { class: 'soft' }, `and ${all.length - MANY} more: filter by name, address or node`)] : []));
}

function pools() {
  const usage = (family, use) => {
    if (!use) return null;
    const kept = Math.max(0, use.total - use.used - use.free), part = n => use.total ? Math.max(n && .6, 100 * n / use.total) : 0;
    const words = [`${count(use.used)} of ${count(use.total)} ${family} in use`, `${count(use.free)} free`, kept > 0 && kept < 1e6 && `${kept} kept out`].filter(Boolean).join(', ');
    return el('div', { class: 'usage' }, words, svg('svg', { class: `bar${use.free ? '' : ' full'}`, viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      svg('rect', { class: 'track', width: 100, height: 8 }), svg('rect', { class: 'used', width: part(use.used), height: 8 }),
      svg('rect', { class: 'kept', x: 100 - part(kept), width: part(kept), height: 8 })));
  };
  $('pools').replaceChildren(...(state.pools.length ? state.pools.map(pool => el('div', null, el('h3', null, pool.name, pool.autoAssign ? null : [' ', tag('', 'on request only')]),
    el('p', { class: 'soft mono' }, pool.ranges.slice(0, 6).join(', '), pool.ranges.length > 6 && ` and ${pool.ranges.length - 6} more`), usage('IPv4', pool.v4), usage('IPv6', pool.v6)))
    : [el('p', { class: 'empty' }, 'No pool: give Lanlord a free range of your network.')]));
}

function members() {
  const columns = [
    ['Node', it => [el('b', null, it.node), it.node === leader() && [' ', tag('acc', 'leads')]]],
    ['State', it => { const [kind, words] = stand(it); return [tag(kind, words), notes(it).map(soft)]; }],
    ['Address', it => it.addresses.slice(0, 4).map(net => mono(host(net)))], ['Links', it => it.links.join(', ') + (it.wireless ? ' (wireless)' : '') || '–'],
    ['Since', it => since(it.since)], ['Announces', it => plural(announcedBy(it.node).length, 'Service')], ['Taken for', it => it.takenFor]];
  $('members').replaceChildren(table('Members', columns, state.members, it => JSON.stringify([it.node, it.state, it.heard, it.instance])));
}

function peers() {
  $('bgp-card').hidden = !state.bgp.length;
  const columns = [
    ['Peer', it => el('b', null, it.name)], ['Address', it => mono(bare(it.remote) || '–')], ['AS', it => it.remoteAs ? String(it.remoteAs) : '–'],
    ['State', it => tag(it.state === 'Established' ? 'good' : 'bad', it.state)], ['Since', it => since(it.since)], ['BFD', it => it.bfd ? tag(it.bfd === 'Up' ? 'good' : 'bad', it.bfd) : '–'],
    ['Routes', it => it.pending ? `${it.announced}, ${it.pending} to come` : String(it.announced)]];
  $('bgp').replaceChildren(el('p', { class: 'soft' }, `Those of ${state.node}; each node has its own.`),
    table('BGP peers', columns, state.bgp, it => JSON.stringify([it.name, it.state, it.bfd]), it => it.troubles.length && it.troubles.map(trouble => el('div', null, trouble.what, el('span', { class: 'do' }, trouble.action)))));
}

function sessions() {
  $('bfd-card').hidden = !state.sessions.length;
  const columns = [
    ['With', it => el('b', null, it.node || (state.bgp.find(peer => bare(peer.remote) === it.peer) || {}).name || 'router')], ['Address', it => mono(it.peer)], ['Link', it => it.link],
    ['State', it => [tag(it.state === 'Up' ? 'good' : 'bad', it.expired ? `${it.state}, expired` : it.state), it.error && soft(it.error)]], ['Since', it => since(it.since)],
    ['A loss is noticed after', it => it.detectionTimeMs ? time(it.detectionTimeMs) : '–'], ['Packets', it => `${count(it.sent)} sent, ${count(it.received)} taken`]];
  $('bfd').replaceChildren(table('Liveness sessions', columns, state.sessions, it => JSON.stringify([it.peer, it.link, it.state])));
}

const KIND = { joined: 'good', announcing: 'good', assigned: 'good', refuted: 'good', 'peer-up': 'good', configuration: 'good', started: 'good', owner: 'warn', restarted: 'warn', suspected: 'warn', left: 'warn', node: 'warn', pending: 'warn', lost: 'bad', withdrawn: 'bad', rejected: 'bad', 'peer-down': 'bad' };
function timeline() {
  const entries = state.transitions.slice().reverse();
  $('timeline').replaceChildren(...(entries.length ? entries.map(it => {
    const key = `timeline ${state.instance} ${it.number}`, fresh = seen && !seen.has(key);
    marks.add(key);
    return el('li', { class: `${KIND[it.kind] || ''}${fresh ? ' new' : ''}` }, el('time', { datetime: it.at, title: new Date(it.at).toLocaleString() }, clock(it.at)), el('span', { class: 'dot', 'aria-hidden': 'true' }), el('span', { title: it.kind }, it.text));
  }) : [el('li', null, 'Nothing since this agent started.')]));
}

// The picture. Boxes hang on the bus: routers above, nodes below; on a narrow screen all beside it.
const cut = (text, width, size) => { const most = Math.max(3, Math.floor(width / size)); return text.length > most ? text.slice(0, most - 1) + '…' : text; };
const line = (x, y, text, kind, width, size) => svg('text', { x, y, class: kind }, cut(text, width, size), svg('title', null, text));
const CHIPS = 5;

function chips(list, width) {
  return list.slice(0, CHIPS).map(([address, service, bgp], at) => {
    const key = `chip ${address} ${service} ${bgp} ${list.of}`, fresh = seen && !seen.has(key);
    marks.add(key);
    return svg('g', { class: `chip${bgp ? ' bgp' : ''}${fresh ? ' new' : ''}`, transform: `translate(10 ${at * 42})` }, svg('rect', { width: width - 20, height: 37, rx: 7 }),
      line(8, 16, address, 'm', width - 36, 7.3), line(8, 30, service, 's', width - 36, 6.6));
  });
}

function box(kind, dot, head, badge, lines, held, width) {
  const top = 27 + lines.length * 17, shown = Math.min(held.length, CHIPS), more = held.length - shown;
  const height = top + 8 + (shown ? shown * 42 + 4 : 0) + (more ? 18 : 0);
  const draw = (x, y, tall) => svg('g', { class: kind, transform: `translate(${x} ${y})` }, svg('rect', { class: 'box', width, height: tall || height, rx: 11 }), svg('circle', { class: `d-${dot}`, cx: 15, cy: 18, r: 4.5 }),
    line(26, 23, head, 'b', width - (badge ? 84 : 34), 8), badge && svg('text', { x: width - 10, y: 22, class: 's', 'text-anchor': 'end' }, badge),
    lines.map(([text, style], at) => line(12, 42 + at * 17, text, style, width - 20, style === 'm' ? 7.3 : 6.3)),
    svg('g', { transform: `translate(0 ${top + 8})` }, chips(held, width)), more ? svg('text', { x: 12, y: height - 9, class: 's' }, `and ${more} more`) : null);
  return { width, height, draw };
}

function routers(width) {
  const found = state.bgp.map(peer => {
    const up = peer.state === 'Established', address = bare(peer.remote);
    const words = `${peer.remoteAs ? `AS ${peer.remoteAs} · ` : ''}${up ? plural(peer.announced, 'route') : peer.state}`;
    return { address, wire: up ? '' : 'bad', ...box('router', up ? 'good' : 'bad', peer.name, 'BGP', [[address || 'not spoken with', 'm'], [words, 's']], [], width) };
  });
  const gateways = [...new Set(state.members.flatMap(member => member.gateways))].filter(address => !address.startsWith('fe80:') && !found.some(peer => peer.address === address));
  return found.slice(0, 6).concat(gateways.length ? [{ wire: '', ...box('router', 'soft', 'gateway', '', gateways.slice(0, 2).map(it => [it, 'm']), [], width) }] : []);
}

function hosts(width) {
  const held = node => Object.assign(announcedBy(node).flatMap(it => it.addresses.map(address => [address, it.service, it.owner !== node])), { of: node });
  const shown = state.members.filter(it => it.instance || it.nodeReady != null);
  shown.sort((a, b) => announcedBy(b.node).length - announcedBy(a.node).length);
  const few = shown.slice(0, 24).sort((a, b) => a.node < b.node ? -1 : 1);
  const found = few.map(member => {
    const [dot, words] = stand(member), session = state.sessions.find(it => it.node === member.node && it.state === 'Up');
    const kind = member.state === 'self' ? 'me' : dot === 'bad' || member.state === 'left' ? 'gone' : '';
    const wire = dot === 'bad' ? 'bad' : member.state === 'left' ? 'off' : dot === 'warn' ? 'warn' : member.wireless ? 'wifi' : '';
    const liveness = [words, session && `loss noticed in ${time(session.detectionTimeMs)}`, ...notes(member).slice(0, 1)].filter(Boolean);
    const lines = member.addresses.slice(0, 2).map(net => [host(net), 'm']).concat(liveness.map(text => [text, 's']));
    return { member, session, dot, wire, ...box(kind, dot, member.node, member.node === leader() ? 'leads' : '', lines, held(member.node), width) };
  });
  const lost = Object.assign(state.services.filter(it => it.state === 'pending').flatMap(it => it.addresses.map(address => [address, it.service, false])), { of: 'nobody' });
  if (lost.length) found.push({ wire: 'off', ...box('nobody', 'warn', 'nobody', '', [['announces these', 's']], lost, width) });
  return [found, shown.length - few.length];
}

function picture() {
  const width = Math.max(260, Math.floor($('picture').clientWidth) - 2), narrow = width < 560;
  const networks = [...new Set(state.members.filter(it => it.state === 'self').concat(state.members).slice(0, 1).flatMap(it => it.addresses).map(network))].join(', ');
  const parts = [];
  let height, arcs = false;
  const wide = n => narrow ? width - 34 : Math.min(250, Math.floor((width - (n - 1) * 16 - 14) / n));
  const members = state.members.filter(it => it.instance || it.nodeReady != null).length + (state.services.some(it => it.state === 'pending' && it.addresses.length) ? 1 : 0);
  const columns = narrow ? 1 : Math.max(1, Math.min(Math.max(members, 1), Math.floor((width + 16) / 190)));
  const above = routers(narrow ? wide(1) : Math.min(230, Math.floor((width - 80) / Math.max(1, state.bgp.length + 1)) - 16)), [below, hidden] = hosts(wide(columns));
  if (narrow) {
    let y = 30;
    for (const item of above.concat(below)) {
      parts.push(svg('path', { class: `wire ${item.wire}`, d: `M9 ${y + 18}H34` }), item.draw(34, y));
      y += item.height + 12;
    }
    parts.unshift(svg('path', { class: 'bus', d: `M9 30V${Math.max(y - 12, 40)}` }), line(2, 18, networks || 'LAN', 'm', width, 7.3));
    height = y;
  } else {
    const ends = Math.max(0, ...above.map(item => item.height)), busY = ends ? ends + 34 : 26;
    let x = 14;
    for (const item of above) {
      parts.push(svg('path', { class: `wire ${item.wire}`, d: `M${x + item.width / 2} ${ends}V${busY}` }), item.draw(x, 0, ends));
      x += item.width + 16;
    }
    parts.push(svg('text', { x: width, y: busY - 12, class: 'm', 'text-anchor': 'end' }, cut(networks || 'LAN', width - x, 7.3)));
    let y = busY;
    const places = [];
    for (let at = 0; at < below.length || at === 0; at += columns) {
      const row = below.slice(at, at + columns), top = y + 30;
      parts.unshift(svg('path', { class: 'bus', d: `M3 ${y}H${width - 3}` + (at ? `M3 ${y}V${busY}` : '') }));
      const free = width - 14 - row.length * (row[0] || { width: 0 }).width, gap = below.length > columns || row.length < 2 ? 16 : Math.min(90, free / (row.length - 1));
      const left = below.length > columns ? 14 : 14 + Math.max(0, (free - (row.length - 1) * gap) / 2), tall = Math.max(30, ...row.map(item => item.height));
      row.forEach((item, place) => {
        const x = left + place * (item.width + gap);
        parts.push(svg('path', { class: `wire ${item.wire}`, d: `M${x + item.width / 2} ${y}V${top}` }), item.draw(x, top, tall));
        places.push({ item, x: x + item.width / 2, bottom: top + tall });
      });
      y = top + tall + 18;
    }
    height = y;
    // Who hears whom, as far as this agent's own sessions go.
    const me = places.find(it => it.item.member && it.item.member.state === 'self');
    if (me && below.length <= columns) {
      const others = places.filter(it => it !== me && it.item.member && it.item.member.state !== 'left'), reach = Math.max(0, ...others.map(it => Math.abs(it.x - me.x)));
      for (const it of others) {
        const deep = me.bottom + 16 + 32 * Math.abs(it.x - me.x) / reach;
        parts.push(svg('path', { class: `arc ${it.item.session ? '' : it.item.dot === 'bad' ? 'bad' : 'off'}`, d: `M${me.x} ${me.bottom + 3}C${me.x} ${deep} ${it.x} ${deep} ${it.x} ${it.bottom + 3}` }));
      }
      arcs = others.length > 0;
      if (arcs) height = me.bottom + 42;
    }
  }
  const words = `${plural(members, 'member')} on ${networks || 'the LAN'}; the tables below say the same`;
  $('picture').replaceChildren(svg('svg', { viewBox: `-1 -1 ${width + 2} ${height + 1}`, role: 'img', 'aria-label': words }, parts));
  $('legend').textContent = [`Filled: announced on layer 2 by this node. ${state.bgp.length ? 'Outlined: told to routers over BGP by this node. ' : ''}`, arcs ? `Arcs: liveness sessions of ${state.node}.` : '', hidden > 0 ? ` ${hidden} more members are in the table.` : ''].join('');
}

// The network of an address with prefix length, as far as 32-bit arithmetic goes; of IPv6 the first four groups.
function network(net) {
  const [address, length] = net.split('/');
  if (address.includes(':')) return `${address.split('::')[0].split(':').slice(0, 4).join(':')}::/${length}`;
  const bits = +length ? -1 << 32 - length : 0, number = address.split('.').reduce((sum, part) => (sum << 8) + +part, 0) & bits;
  return [24, 16, 8, 0].map(shift => number >>> shift & 255).join('.') + '/' + length;
}

function head() {
  const ill = state.problems.length;
  $('verdict').className = `pill ${ill ? 'warn' : 'good'}`;
  $('verdict').textContent = ill ? `${ill} to look at` : 'All is well';
  const api = state.detachedSince ? 'the API server does not answer' : state.apiReachable ? 'API server reachable' : 'API server not asked yet';
  $('where').textContent = `as ${state.node} sees it · ${api}`;
  document.title = `${ill ? `(${ill}) ` : ''}Lanlord on ${state.node}`;
  $('foot').textContent = `lanlord ${state.version} on ${state.node}, instance ${state.instance}; configuration ${state.configuration || 'none'}; as of ${new Date(state.at).toLocaleString()}`;
}

// Draws only what differs, so that nobody loses a selection or the place in a list.
const PARTS = [
  [tiles, it => [it.services, it.pools, it.members, it.bgp.map(peer => peer.state), it.leader]], [problems, it => it.problems], [services, it => it.services], [pools, it => it.pools],
  [members, it => [it.members, it.services, it.leader, it.configuration]], [peers, it => it.bgp.map(({ sent, received, holdInMs, keepaliveInMs, retryInMs, ...rest }) => rest)], [sessions, it => it.sessions], [timeline, it => it.transitions],
  [picture, it => [it.members, it.services, it.bgp.map(peer => [peer.name, peer.state, peer.announced, peer.remote]), it.sessions.map(session => [session.node, session.state, session.detectionTimeMs]), it.leader]], [head, it => it.at]];
function draw(all) {
  if (!state) return;
  for (const [part, depends] of PARTS) {
    const text = JSON.stringify(depends(state));
    if (all || drawn[part.name] !== text) { drawn[part.name] = text; part(); }
  }
  seen = new Set([...(seen || []), ...marks]);
  if (seen.size > 20000) seen = new Set(marks);
  marks = new Set();
}

function connect() {
  const events = new EventSource('events');
  const say = (kind, words) => { $('live').className = `pill ${kind}`; $('live-text').textContent = words; document.body.classList.toggle('stale', kind !== 'good' && !!state); };
  events.addEventListener('state', event => {
    state = JSON.parse(event.data);
    skew = Date.parse(state.at) - Date.now();
    say('good', 'live');
    draw();
  });
  events.onerror = () => {
    say('wait', state ? `reconnecting, as of ${clock(state.at)}` : 'waiting for the agent');
    // An answer without events (too many watch) is final for an EventSource.
    if (events.readyState === EventSource.CLOSED) { events.close(); setTimeout(connect, 3000); }
  };
}

setInterval(() => document.querySelectorAll('[data-ago]').forEach(it => { it.textContent = ago(it.dataset.ago); }), 5000);
$('filter').addEventListener('input', () => state && services());
new ResizeObserver(() => state && picture()).observe($('picture'));
connect();
})();
