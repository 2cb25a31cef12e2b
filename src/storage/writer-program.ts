/**
 * What goes to the writer thread: a program in bytes for a machine that collects parameters and runs prepared
 * statements on them. One transferred buffer costs the main thread a fraction of cloning rows, and the writer need not
 * know any table. It lives in memory only, so it has no version.
 *
 * Feeds, documents and lineages are names: the database knows each by a small number. The first mention in a program
 * carries the identifier and takes the next index; every later mention is that index, so each is looked up once.
 */
import type { SQLInputValue } from 'node:sqlite'

/** What is interned: also the name of its table, and of the column that holds the identifier. */
export const nameKinds = ['feed', 'document', 'lineage'] as const
export type NameKind = (typeof nameKinds)[number]

const operation = { null: 0, uint32: 1, float64: 2, bytes: 3, text: 4, newName: 5, knownName: 6, run: 7 } as const

/** Room for a small commit; it doubles as needed. */
const initialBytes = 4 << 10

/** Writes a program. Every method but `run` adds a parameter; `run` ends a row. */
export class ProgramBuilder {
  #buffer = Buffer.allocUnsafeSlow(initialBytes)
  #length = 0
  #names = 0
  readonly #indexByName: Readonly<Record<NameKind, Map<string, number>>> = { feed: new Map(), document: new Map(), lineage: new Map() }

  number(value: number | null): this {
    if (value === null) return this.#operation(operation.null, 0)
    if (value >>> 0 === value) {
      this.#operation(operation.uint32, 4)
      this.#length = this.#buffer.writeUInt32LE(value, this.#length)
    } else {
      this.#operation(operation.float64, 8)
      this.#length = this.#buffer.writeDoubleLE(value, this.#length)
    }
    return this
  }

  bytes(value: Uint8Array | null): this {
    if (value === null) return this.#operation(operation.null, 0)
    this.#operation(operation.bytes, 4 + value.length)
    this.#length = this.#buffer.writeUInt32LE(value.length, this.#length)
    this.#buffer.set(value, this.#length)
    this.#length += value.length
    return this
  }

  /** The raw bytes that hexadecimal text spells. */
  hex(value: string | null): this {
    if (value === null) return this.#operation(operation.null, 0)
    this.#operation(operation.bytes, 4 + value.length / 2)
    this.#length = this.#buffer.writeUInt32LE(value.length / 2, this.#length)
    this.#length += this.#buffer.write(value, this.#length, 'hex')
    return this
  }

  text(value: string): this {
    const length = Buffer.byteLength(value)
    this.#operation(operation.text, 4 + length)
    this.#length = this.#buffer.writeUInt32LE(length, this.#length)
    this.#length += this.#buffer.write(value, this.#length, 'utf8')
    return this
  }

  /** The number of an identifier, given as hexadecimal text of at most 255 bytes. */
  name(kind: NameKind, id: string): this {
    const known = this.#indexByName[kind].get(id)
    if (known !== undefined) {
      this.#operation(operation.knownName, 4)
      this.#length = this.#buffer.writeUInt32LE(known, this.#length)
      return this
    }
    this.#indexByName[kind].set(id, this.#names)
    this.#names += 1
    this.#operation(operation.newName, 2 + id.length / 2)
    this.#length = this.#buffer.writeUInt8(nameKinds.indexOf(kind), this.#length)
    this.#length = this.#buffer.writeUInt8(id.length / 2, this.#length)
    this.#length += this.#buffer.write(id, this.#length, 'hex')
    return this
  }

  /** Runs a statement, by its index, on the parameters since the last `run`. */
  run(statement: number): void {
    this.#operation(operation.run, 1)
    this.#length = this.#buffer.writeUInt8(statement, this.#length)
  }

  /** The program, in a buffer of its own that can be transferred. The builder is of no use afterwards. */
  finish(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer.buffer, 0, this.#length)
  }

  #operation(code: number, argumentBytes: number): this {
    const needed = this.#length + 1 + argumentBytes
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2))
      larger.set(this.#buffer.subarray(0, this.#length))
      this.#buffer = larger
    }
    this.#buffer[this.#length] = code
    this.#length += 1
    return this
  }
}

/** What a program runs on. */
export interface Machine {
  /** The number of an identifier, given to it now if it has none. */
  numberOf(kind: NameKind, id: Uint8Array): number
  /** The parameters are valid only during the call. */
  run(statement: number, parameters: readonly SQLInputValue[]): void
}

/** Runs a program that `ProgramBuilder` made. */
export function runProgram(program: Uint8Array, machine: Machine): void {
  const buffer = Buffer.from(program.buffer, program.byteOffset, program.byteLength)
  const numbers: number[] = []
  const parameters: SQLInputValue[] = []
  let at = 0
  const take = (length: number): Buffer => buffer.subarray(at, (at += length))
  const takeUint32 = (): number => {
    at += 4
    return buffer.readUInt32LE(at - 4)
  }
  while (at < buffer.length) {
    const code = buffer[at++]
    switch (code) {
      case operation.null:
        parameters.push(null)
        break
      case operation.uint32:
        parameters.push(takeUint32())
        break
      case operation.float64:
        at += 8
        parameters.push(buffer.readDoubleLE(at - 8))
        break
      case operation.bytes:
        parameters.push(take(takeUint32()))
        break
      case operation.text:
        parameters.push(take(takeUint32()).toString('utf8'))
        break
      case operation.newName: {
        const kind = nameKinds[buffer[at] as number] as NameKind
        const length = buffer[at + 1] as number
        at += 2
        const number = machine.numberOf(kind, take(length))
        numbers.push(number)
        parameters.push(number)
        break
      }
      case operation.knownName:
        parameters.push(numbers[takeUint32()] as number)
        break
      case operation.run:
        machine.run(buffer[at++] as number, parameters)
        parameters.length = 0
        break
      default:
        throw new Error(`operation ${String(code)} is not known: the program is damaged`)
    }
  }
}
