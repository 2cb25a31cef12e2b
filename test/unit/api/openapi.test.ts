import { describe, expect, test } from 'vitest'
import { errorsEverywhere, routes } from '../../../src/api/contract.ts'
import type { Route } from '../../../src/api/contract.ts'
import { contractToOpenapi } from '../../../src/api/openapi.ts'
import { errorTable } from '../../../src/core/index.ts'

interface Operation {
  readonly 'operationId': string
  readonly 'summary': string
  readonly 'x-needs': string
  readonly 'parameters': readonly { readonly name: string; readonly in: string; readonly required: boolean; readonly schema: object }[]
  readonly 'requestBody'?: { readonly content: Readonly<Record<string, { readonly schema: object }>> }
  readonly 'responses': Readonly<Record<string, { readonly description: string; readonly content?: object }>>
}

interface Document {
  readonly openapi: string
  readonly info: { readonly version: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

// As a client reads it: through JSON.
const openapi = JSON.parse(JSON.stringify(contractToOpenapi('1.2.3'))) as Document

function operationOf(route: Route): Operation {
  const operation = openapi.paths[route.path.replaceAll(/:(\w+)/g, '{$1}')]?.[route.method.toLowerCase()]
  if (operation === undefined) throw new Error(`${route.method} ${route.path} is missing`)
  return operation
}

function refsIn(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(refsIn)
  if (typeof node !== 'object' || node === null) return []
  return Object.entries(node).flatMap(([key, value]) => (key === '$ref' ? [value as string] : refsIn(value)))
}

describe('the OpenAPI document', () => {
  test('is of version 3.1 and tells the version of the program', () => {
    expect(openapi.openapi).toMatch(/^3\.1\.\d+$/)
    expect(openapi.info.version).toBe('1.2.3')
  })

  test.each(Object.entries(routes) as [string, Route][])('describes %s whole', (id, route) => {
    const operation = operationOf(route)
    expect(operation.operationId).toBe(id)
    expect(operation.summary).toBe(route.summary)
    expect(operation['x-needs']).toBe(route.needs)
    const places = operation.parameters.map((parameter) => `${parameter.in}:${parameter.name}`)
    const expected = [
      ...Object.keys(route.params?.properties ?? {}).map((name) => `path:${name}`),
      ...Object.keys(route.query?.properties ?? {}).map((name) => `query:${name}`),
    ]
    expect(places).toEqual(route.writes === true ? [...expected, 'header:Idempotency-Key'] : expected)
    expect(operation.parameters.filter((parameter) => parameter.in === 'path').every((parameter) => parameter.required)).toBe(true)
    expect(Object.keys(operation.requestBody?.content ?? {})).toEqual(Object.keys(route.body ?? {}))
    expect(operation.responses).toHaveProperty(String(route.status))
    for (const code of [...route.errors, ...errorsEverywhere])
      expect(operation.responses[errorTable[code].status]?.description).toContain(code)
  })

  test('has nothing that the contract has not', () => {
    const count = Object.values(openapi.paths).reduce((sum, path) => sum + Object.keys(path).length, 0)
    expect(count).toBe(Object.keys(routes).length)
  })

  test('names every parameter of a path, and no two operations alike', () => {
    for (const [path, operations] of Object.entries(openapi.paths)) {
      for (const operation of Object.values(operations)) {
        expect(operation.parameters.filter((parameter) => parameter.in === 'path').map((parameter) => `{${parameter.name}}`)).toEqual(
          path.match(/\{\w+\}/g) ?? [],
        )
      }
    }
  })

  test('refers only to components that it holds, and holds none that nothing refers to', () => {
    const referred = new Set(refsIn(openapi))
    expect([...referred].sort()).toEqual(
      Object.keys(openapi.components.schemas)
        .map((name) => `#/components/schemas/${name}`)
        .sort(),
    )
  })
})
