/** What the shapes of the local API are made with, and the few that stand in many of them. */
import Type from 'typebox'
import type { Static, TObject, TProperties, TSchema } from 'typebox'

/** An object of exactly these properties. */
export function shape<Properties extends TProperties>(
  title: string | null,
  properties: Properties,
  options: Record<string, unknown> = {},
): TObject<Properties> {
  return Type.Object(properties, { ...(title === null ? {} : { title }), additionalProperties: false, ...options })
}

/** A list that its giver may keep. */
export function list<Item extends TSchema>(item: Item, options: Record<string, unknown> = {}) {
  return Type.Immutable(Type.Array(item, options))
}

/** One of some words. */
export function oneOf<const Values extends readonly string[]>(values: Values, options: Record<string, unknown> = {}) {
  return Type.Unsafe<Values[number]>({ type: 'string', enum: values, ...options })
}

/** That, or null where there is none. */
export function orNull<Schema extends TSchema>(schema: Schema) {
  return Type.Union([schema, Type.Null()])
}

export const time = Type.String({ format: 'date-time', description: 'ISO 8601, UTC, milliseconds' })
export const count = Type.Integer({ minimum: 0 })

export const documentKind = oneOf(['log', 'counter', 'set', 'register', 'text', 'json'], { title: 'DocumentKind' })
export type DocumentKind = Static<typeof documentKind>
export const author = shape('Author', { id: Type.String(), name: Type.String() }, { description: 'the instance that wrote it' })
export type Author = Static<typeof author>

export const role = oneOf(['admin', 'writer', 'reader'], { title: 'Role' })
export type Role = Static<typeof role>
