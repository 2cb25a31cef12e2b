/**
 * Where each route of the local API lives: its id, method and path, and nothing else, so that the client (and through it
 * every command) can start without loading the schemas. `contract.ts` adds to each what it takes and answers.
 */

/** A path parameter stands for one percent-encoded segment: a document name's slashes are `%2F`. */
export const paths = {
  'operations.write': { method: 'POST', path: '/v1/operations' },
  'log.append': { method: 'POST', path: '/v1/log/:name/entries' },
  'log.read': { method: 'GET', path: '/v1/log/:name/entries' },
  'log.entry': { method: 'GET', path: '/v1/log/:name/entries/:id' },
  'counter.read': { method: 'GET', path: '/v1/counter/:name' },
  'counter.add': { method: 'POST', path: '/v1/counter/:name/add' },
  'set.read': { method: 'GET', path: '/v1/set/:name' },
  'set.add': { method: 'POST', path: '/v1/set/:name/add' },
  'set.remove': { method: 'POST', path: '/v1/set/:name/remove' },
  'register.read': { method: 'GET', path: '/v1/register/:name' },
  'register.set': { method: 'POST', path: '/v1/register/:name/set' },
  'register.delete': { method: 'POST', path: '/v1/register/:name/delete' },
  'text.read': { method: 'GET', path: '/v1/text/:name' },
  'text.put': { method: 'PUT', path: '/v1/text/:name' },
  'json.read': { method: 'GET', path: '/v1/json/:name' },
  'json.edit': { method: 'PATCH', path: '/v1/json/:name' },
  'documents.list': { method: 'GET', path: '/v1/documents' },
  'digests.list': { method: 'GET', path: '/v1/digests' },
  'digests.read': { method: 'GET', path: '/v1/digests/:kind/:name' },
  'blame.read': { method: 'GET', path: '/v1/blame/:kind/:name' },
  'changes.read': { method: 'GET', path: '/v1/changes' },
  'changes.watch': { method: 'GET', path: '/v1/watch' },
  'presence.read': { method: 'GET', path: '/v1/presence' },
  'presence.set': { method: 'PUT', path: '/v1/presence' },
  'presence.clear': { method: 'DELETE', path: '/v1/presence' },
  'network.pause': { method: 'POST', path: '/v1/network/pause' },
  'network.resume': { method: 'POST', path: '/v1/network/resume' },
  'members.list': { method: 'GET', path: '/v1/members' },
  'members.find': { method: 'GET', path: '/v1/members/:id' },
  'members.giveRole': { method: 'PUT', path: '/v1/members/:id/role' },
  'members.rename': { method: 'PUT', path: '/v1/members/:id/name' },
  'members.remove': { method: 'DELETE', path: '/v1/members/:id' },
  'invites.create': { method: 'POST', path: '/v1/invites' },
  'invites.list': { method: 'GET', path: '/v1/invites' },
  'invites.revoke': { method: 'DELETE', path: '/v1/invites/:id' },
  'tokens.list': { method: 'GET', path: '/v1/tokens' },
  'tokens.create': { method: 'POST', path: '/v1/tokens' },
  'tokens.revoke': { method: 'DELETE', path: '/v1/tokens/:name' },
  'key.replace': { method: 'POST', path: '/v1/key' },
  'evidence.list': { method: 'GET', path: '/v1/evidence' },
  'alerts.watch': { method: 'GET', path: '/v1/alerts/watch' },
  'status.read': { method: 'GET', path: '/v1/status' },
  'health.read': { method: 'GET', path: '/v1/health' },
  'ready.read': { method: 'GET', path: '/v1/ready' },
  'verification.run': { method: 'POST', path: '/v1/verify' },
  'rebuild.run': { method: 'POST', path: '/v1/rebuild' },
  'metrics.read': { method: 'GET', path: '/v1/metrics' },
  'openapi.read': { method: 'GET', path: '/v1/openapi.json' },
  'daemon.shutdown': { method: 'POST', path: '/v1/shutdown' },
} as const satisfies Record<string, Path>

export interface Path {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
}

export type RouteId = keyof typeof paths
