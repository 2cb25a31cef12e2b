/**
 * The lists of a text or json document as the author of an update had them: the live document without what lies outside of
 * the declared past, and with those structs of the update that were placed already. An honest author inserts between two
 * neighbours of its view and sets a key behind the last value of it; whatever says otherwise stands nowhere.
 *
 * Why the answer depends on the update and its declared past alone, whatever else the live document holds:
 * - Every struct that was ever accepted was placed in its author's view. Of such structs Yjs makes one order, however they
 *   came, and a later one comes between them without moving any. So the author's list is the list here, less the rest.
 * - Nothing here forgets an order: deleted content is dropped, the items and containers that held it stay.
 * - What was deleted is not asked: which deletions the author had seen is not known here. What is placed in a deleted
 *   container is in order all the same, and deleted.
 * - Nothing is refused for how much lies between two neighbours. Of what is outside of the past each item is passed at most
 *   once for an update, since the step over it is then remembered; Yjs passes the same ones when it integrates.
 */
import * as Y from 'yjs'
import { assert, jsonDepthMax } from '../core/index.ts'
import type { UpdateContext } from './document.ts'
import type { Struct, StructId } from './update-reader.ts'

export interface AuthorView {
  /** Adds the next struct of the update, all of whose references exist. What is wrong with its place, else undefined. */
  place(struct: Struct): string | undefined
}

/** A type, and what holds its lists. */
interface Container {
  /** Null for one that the update itself brings: it holds what is placed there, and nothing else. */
  readonly type: Y.AbstractType<unknown> | null
  /** Whether its lists are the values of keys. */
  readonly isMap: boolean
  /** How many containers its items are in. */
  readonly depth: number
  /** The first unit of its lists, by key, where the update placed one there. */
  readonly firsts: Map<string | null, StructId>
}

/** Items in a row: elements, characters, or all the values that a key ever had. */
interface List {
  readonly container: Container
  /** Of a map; else null. */
  readonly key: string | null
}

/** A struct of the update. */
interface Placed extends List {
  readonly clock: number
  /** The container that it is. */
  readonly brings: Container | null
}

/** The name of a unit, as a key of maps. */
type UnitName = `${number}:${number}`

/** Opens the view of whoever wrote the update under judgement; `root`: name of the root type. The live document must not change meanwhile. */
export function openAuthorView(doc: Y.Doc, root: string, context: UpdateContext): AuthorView {
  const { client } = context
  const firstClock = Y.getState(doc.store, client)
  const rootType = doc.share.get(root)
  assert(rootType !== undefined, 'a document has its root from the start')
  const containers = new Map<Y.AbstractType<unknown>, Container>()
  const placed: Placed[] = []
  /** What follows a unit, where the update placed something behind it or it is the end of something placed. */
  const followers = new Map<UnitName, StructId | null>()

  function isInView(id: StructId): boolean {
    return id.client === client || id.clock < context.pastClock(id.client)
  }

  function containerOf(type: Y.AbstractType<unknown>): Container {
    const known = containers.get(type)
    if (known !== undefined) return known
    let depth = 1
    for (let holder = type._item; holder !== null; holder = typeOf(holder)._item) depth++
    const container = { type, isMap: type instanceof Y.Map, depth, firsts: new Map<string | null, StructId>() }
    containers.set(type, container)
    return container
  }

  function itemAt({ client, clock }: StructId): Y.Item {
    const item = Y.getItem(doc.store, Y.createID(client, clock))
    assert(item instanceof Y.Item, 'a document keeps the place of everything that it ever held')
    return item
  }

  function isNew(id: StructId): boolean {
    return id.client === client && id.clock >= firstClock
  }

  function placedAt({ clock }: StructId): Placed {
    // The last struct that begins at or before it: there may be many thousands.
    let low = 0
    let high = placed.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((placed[middle] as Placed).clock <= clock) low = middle + 1
      else high = middle
    }
    return placed[low - 1] as Placed
  }

  function containerAt(id: StructId): Container | null {
    if (isNew(id)) return placedAt(id).brings
    const { content } = itemAt(id)
    return content instanceof Y.ContentType ? containerOf(content.type) : null
  }

  function listOf(id: StructId): List {
    if (isNew(id)) return placedAt(id)
    const item = itemAt(id)
    return { container: containerOf(typeOf(item)), key: item.parentSub }
  }

  /** The list that a struct says it is in; null where its parent is no container. */
  function listFor({ origin, rightOrigin, parent, key }: Struct): List | null {
    const neighbour = origin ?? rightOrigin
    if (neighbour !== null) return listOf(neighbour)
    const container = typeof parent === 'string' ? rootContainer : containerAt(parent as StructId)
    return container && { container, key }
  }

  function firstFrom(item: Y.Item | null): StructId | null {
    let at = item
    while (at !== null && !isInView(at.id)) at = at.right
    return at && at.id
  }

  function firstOf({ container: { type, firsts }, key }: List): StructId | null {
    const first = firsts.get(key)
    if (first !== undefined || type === null) return first ?? null
    if (key === null) return firstFrom(type._start)
    // Of the values of a key Yjs knows the last one.
    let item = type._map.get(key) ?? null
    while (item !== null && item.left !== null) item = item.left
    return firstFrom(item)
  }

  function followerOf(id: StructId): StructId | null {
    const follower = followers.get(nameOf(id))
    if (follower !== undefined) return follower
    const next = { client: id.client, clock: id.clock + 1 }
    // Only the last unit of what was placed has another follower than the next unit.
    if (isNew(id)) return next
    const item = itemAt(id)
    return next.clock < item.id.clock + item.length && isInView(next) ? next : firstFrom(item.right)
  }

  const rootContainer = containerOf(rootType as Y.AbstractType<unknown>)

  return {
    place(struct) {
      const { clock, length, origin, rightOrigin, isKeyed, content } = struct
      const list = listFor(struct)
      if (list === null) return 'an item inside of what is no container'
      const { container, key } = list
      if (isKeyed !== (key !== null) || isKeyed !== container.isMap) return 'an item with a key outside of a map, or without one in a map'
      if (isKeyed && rightOrigin !== null) return 'a value of a key before another'
      if (!isSame(origin === null ? firstOf(list) : followerOf(origin), rightOrigin))
        return 'an item between two that were no neighbours for its author'
      const { depth } = container
      const isContainer = content.type === 'container'
      if (depth + (isContainer ? 1 : 0) > jsonDepthMax) return 'containers nested too deeply'

      const first = { client, clock }
      if (origin === null) container.firsts.set(key, first)
      else followers.set(nameOf(origin), first)
      followers.set(nameOf({ client, clock: clock + length - 1 }), rightOrigin)
      const brings = isContainer
        ? { type: null, isMap: content.container === 'map', depth: depth + 1, firsts: new Map<string | null, StructId>() }
        : null
      placed.push({ clock, container, key, brings })
      return undefined
    },
  }
}

function typeOf(item: Y.Item): Y.AbstractType<unknown> {
  return item.parent as Y.AbstractType<unknown>
}

function nameOf({ client, clock }: StructId): UnitName {
  return `${client}:${clock}`
}

function isSame(a: StructId | null, b: StructId | null): boolean {
  return a === null || b === null ? a === b : a.client === b.client && a.clock === b.clock
}
