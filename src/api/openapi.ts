/** The contract as an OpenAPI 3.1 document. Schemas with a title become components, referred to wherever they occur. */
import type { TObject, TSchema } from 'typebox'
import { errorTable } from '../core/index.ts'
import type { ErrorCode } from '../core/index.ts'
import { errorsEverywhere, mediaTypes, routes } from './contract.ts'
import type { Content, Route } from './contract.ts'
import { operationId, problem } from './schemas.ts'

type Node = { readonly [key: string]: unknown }

export function contractToOpenapi(version: string): object {
  const components: Record<string, unknown> = {}
  const paths: Record<string, Record<string, unknown>> = {}
  for (const [id, route] of Object.entries(routes) as [string, Route][]) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: refer(routeToOperation(id, route), components) }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Selfsame',
      version,
      description: "An agent's memory, as the daemon on this machine holds it.",
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [
      { url: 'http://localhost', description: "over the Unix socket in the agent's home, or the TCP address of its configuration" },
    ],
    // The owner's way over the socket needs none.
    security: [{}, { token: [] }],
    paths,
    components: { schemas: components, securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
  }
}

function routeToOperation(id: string, route: Route): Node {
  const answers = { ...(route.response === undefined ? {} : { [mediaTypes.json]: route.response }), ...route.alternatives }
  const success = Object.keys(answers).length === 0 ? { description: 'Done' } : { description: 'Done', content: contentOf(answers) }
  return {
    'operationId': id,
    'summary': route.summary,
    'tags': [id.split('.')[0]],
    // What a token has to allow: OpenAPI has no word of its own for it.
    'x-needs': route.needs,
    'parameters': [
      ...parametersOf(route.params, 'path'),
      ...parametersOf(route.query, 'query'),
      ...(route.writes === true ? [{ name: 'Idempotency-Key', in: 'header', required: false, schema: operationId }] : []),
    ],
    ...(route.body === undefined ? {} : { requestBody: { required: true, content: contentOf(route.body) } }),
    'responses': {
      [route.status]: success,
      ...(route.writes === true ? { 202: { ...success, description: 'Durable here; fewer instances than asked hold it so far' } } : {}),
      ...problemsOf([...route.errors, ...errorsEverywhere]),
    },
  }
}

function contentOf(content: Content): Node {
  return Object.fromEntries(Object.entries(content).map(([mediaType, schema]) => [mediaType, { schema }]))
}

function parametersOf(schema: TObject | undefined, place: 'path' | 'query'): Node[] {
  if (schema === undefined) return []
  const required = new Set<string>(schema.required)
  return Object.entries(schema.properties).map(([name, property]) => ({ name, in: place, required: required.has(name), schema: property }))
}

/** One response per status, which tells the codes that it can carry. */
function problemsOf(codes: readonly ErrorCode[]): Node {
  const codesByStatus = Map.groupBy(new Set(codes), (code) => errorTable[code].status)
  return Object.fromEntries(
    [...codesByStatus].map(([status, codes]) => [
      status,
      {
        description: codes.map((code) => `${code}: ${errorTable[code].title}`).join('; '),
        content: contentOf({ [mediaTypes.problem]: problem }),
      },
    ]),
  )
}

/** A copy in which every titled schema is a reference to its component. */
function refer(node: unknown, components: Record<string, unknown>): unknown {
  if (Array.isArray(node)) return node.map((item: unknown) => refer(item, components))
  if (typeof node !== 'object' || node === null) return node
  const { title, ...rest } = node as TSchema & { readonly title?: unknown }
  if (typeof title !== 'string') return referEach(node, components)
  if (!Object.hasOwn(components, title)) {
    components[title] = {}
    components[title] = { title, ...referEach(rest, components) }
  }
  return { $ref: `#/components/schemas/${title}` }
}

function referEach(node: object, components: Record<string, unknown>): Node {
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, refer(value, components)]))
}
