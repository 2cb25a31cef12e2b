/** Checking requests against the contract's schemas: how ajv is set up, how text in a query becomes values, and how a refusal reads. */
import type { FastifySchemaValidationError } from 'fastify'
import type { TObject } from 'typebox'
import { SelfsameError } from '../core/index.ts'

/** Nothing is coerced or dropped. `verbose` lets a refusal quote the schema's own description. */
export const ajvOptions = {
  coerceTypes: false,
  removeAdditional: false,
  useDefaults: true,
  allErrors: false,
  discriminator: true,
  verbose: true,
} as const

interface Schema {
  readonly type?: unknown
  readonly description?: unknown
}

/**
 * Reads the text values of a query as what their schema says: integers, booleans, lists of one. What does not read as such stays
 * text, and validation refuses it.
 */
export function queryToValues(schema: TObject, query: Readonly<Record<string, string | string[]>>): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  for (const [name, text] of Object.entries(query)) {
    const { type } = (schema.properties[name] ?? {}) as Schema
    if (type === 'array') values[name] = [text].flat()
    else if (type === 'integer' && typeof text === 'string' && /^-?[0-9]{1,15}$/.test(text)) values[name] = Number(text)
    else if (type === 'boolean' && (text === 'true' || text === 'false')) values[name] = text === 'true'
    else values[name] = text
  }
  return values
}

/** A refusal that names the field and what was expected there. `part` is where it stands: `body`, `querystring`, `params`, `headers`. */
export function validationError(errors: readonly FastifySchemaValidationError[], part: string): SelfsameError {
  // ajv reports the branches of a union first and the union itself last; the last one speaks of the whole.
  const error = errors.at(-1) as FastifySchemaValidationError & { readonly parentSchema?: Schema }
  const where = `${part === 'querystring' ? 'query' : part}${error.instancePath.replaceAll('/', '.')}`
  return new SelfsameError('invalid-request', `${where} ${complaint(error, error.parentSchema?.description)}`)
}

function complaint({ keyword, params, message }: FastifySchemaValidationError, description: unknown): string {
  switch (keyword) {
    case 'required':
      return `lacks ${JSON.stringify(params.missingProperty)}`
    case 'additionalProperties':
      return `has an unknown field ${JSON.stringify(params.additionalProperty)}`
    case 'enum':
      return `must be one of ${(params.allowedValues as readonly unknown[]).join(', ')}`
    case 'discriminator':
      return `has no known ${JSON.stringify(params.tag)}: ${JSON.stringify(params.tagValue ?? null)}`
    default:
      return typeof description === 'string' ? `must be ${description}` : (message ?? 'is not valid')
  }
}
