/**
 * The gate: who asks, and what they may. The only place that decides it: a route says what it needs (`Need` in `contract.ts`), a
 * token what it allows (`scope.ts`). Behind the gate a caller meets the agent as far as its token shows it.
 */
import { SelfsameError } from '../core/index.ts'
import type { Route } from './contract.ts'
import type { Handlers } from './handlers.ts'
import type { AgentPort } from './port.ts'
import type { Operation } from './schemas.ts'
import type { Right } from './scope.ts'
import type { Grant, Tokens } from './tokens.ts'

/** One who was let in. */
export interface Caller {
  /** What the routes do for this caller: lists hold only what it may read. */
  readonly handlers: Handlers
  /** Throws `forbidden` where the token does not allow the request. `request` has been held to the route's schemas. */
  authorise(route: Route, request: { readonly params: unknown; readonly body: unknown }): void
}

export interface Gate {
  /**
   * Who a request is from, by its `Authorization`. Without one it is the owner, who may do everything, unless `tokenRequired`.
   * Throws `unauthorized`.
   */
  admit(authorization: string | undefined, tokenRequired: boolean): Caller
}

export interface GateOptions {
  readonly port: AgentPort
  readonly tokens: Tokens
  readonly handlersOn: (port: AgentPort) => Handlers
}

export function createGate({ port, tokens, handlersOn }: GateOptions): Gate {
  const owner: Caller = { handlers: handlersOn(port), authorise: () => {} }
  const callers = new WeakMap<Grant, Caller>()

  function callerOf(grant: Grant): Caller {
    const known = callers.get(grant)
    if (known !== undefined) return known
    const caller: Caller = {
      handlers: handlersOn(narrowTo(port, grant)),
      authorise: (route, request) => authorise(grant, route, request),
    }
    callers.set(grant, caller)
    return caller
  }

  return {
    admit(authorization, tokenRequired) {
      if (authorization === undefined) {
        if (tokenRequired) throw new SelfsameError('unauthorized', "a token is needed here: send 'Authorization: Bearer TOKEN'")
        return owner
      }
      const [, token] = /^Bearer +(\S+)$/i.exec(authorization) ?? []
      const grant = token === undefined ? undefined : tokens.recognise(token)
      if (grant === undefined) throw notValid()
      return callerOf(grant)
    },
  }
}

function authorise(
  { name: token, scope }: Grant,
  route: Route,
  { params, body }: { readonly params: unknown; readonly body: unknown },
): void {
  if (scope.everything) return
  const demand = (right: Right, kind: string, name: string): void => {
    if (!scope.allows(right, kind, name))
      throw new SelfsameError('forbidden', `the token '${token}' does not allow to ${right} ${kind}/${name}`)
  }
  switch (route.needs) {
    case 'nothing':
      return
    case 'everything':
      throw new SelfsameError('forbidden', `the token '${token}' is for documents only: this takes one for everything ('all')`)
    case 'each':
      for (const { type, name } of (body as { readonly operations: readonly Operation[] }).operations) {
        demand(type === 'log.append' ? 'append' : 'write', type.slice(0, type.indexOf('.')), name)
      }
      return
    default: {
      const document = documentOf(route, params)
      demand(route.needs, document.kind, document.name)
    }
  }
}

/** The document that a path names: by its parameters, or its kind by the path itself. */
function documentOf({ path }: Route, params: unknown): { readonly kind: string; readonly name: string } {
  const [, , kind = ''] = path.split('/')
  return { kind, ...(params as { readonly kind?: string; readonly name: string }) }
}

/** The agent as a token shows it. What can go on for long asks each time whether the token still holds. */
function narrowTo(port: AgentPort, grant: Grant): AgentPort {
  const { scope } = grant
  const isShown = ({ kind, name }: { readonly kind: string; readonly name: string }): boolean => scope.allows('read', kind, name)
  const checkStill = (): void => {
    if (!grant.isValid()) throw notValid()
  }
  return {
    ...port,
    async write(request) {
      checkStill()
      return port.write(request)
    },
    async readLog(name, query) {
      checkStill()
      return port.readLog(name, query)
    },
    async changes(query) {
      checkStill()
      const page = await port.changes(query)
      return { ...page, changes: page.changes.filter(isShown) }
    },
    documents: async (filter) => (await port.documents(filter)).filter(isShown),
    async digests() {
      const digests = []
      for (const document of await port.documents({})) {
        if (isShown(document)) digests.push(await port.digest(document.kind, document.name))
      }
      return digests
    },
    alerts() {
      checkStill()
      return port.alerts()
    },
    async health() {
      const health = await port.health()
      return scope.everything ? health : { ...health, attention: [] }
    },
  }
}

function notValid(): SelfsameError {
  return new SelfsameError('unauthorized', 'that token is not valid here: it may have expired or been revoked')
}
