import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { jsonDepthMax, stampOf } from '../../../src/core/index.ts'
import { openLiveDocument } from '../../../src/document/index.ts'
import type { Edit, LiveDocument, UpdateContext } from '../../../src/document/index.ts'
import { seeds } from './group.ts'
import { any, container, handMade, string } from './hand-made.ts'
import type { HandMade } from './hand-made.ts'
import { replay, runHostileGroup } from './hostile.ts'

const hostile = 5
const stamp = stampOf(1, 0)

function write(document: LiveDocument, client: number, edit: Edit): Uint8Array {
  return document.edit({ client, stamp, textVersion: () => undefined }, (apply) => apply(edit))!
}

const put = (text: string): Edit => ({ type: 'text.put', text, base: null })
const merge = (patch: { readonly [key: string]: unknown }): Edit => ({ type: 'json.merge', patch }) as Edit
const firstText = put('abcd')
/** Clocks of client 1: `l` 0 and its elements 1 to 3, `q` 4 and its elements 5 and 6, `n` 7, `m` 8 and its `k` 9. */
const firstJson = merge({ l: [1, 2, 3], q: [4, 5], n: 0, m: { k: 1 } })

/** What the hostile member declares: all that client 1 wrote first, and nothing of what others wrote at the same time. */
function contextAfter(first: LiveDocument): UpdateContext {
  const clock = first.clock(1)
  return { client: hostile, stamp, pastClock: (client) => (client === 1 ? clock : 0) }
}

describe.each(['text', 'json'] as const)('whatever hostile members write into a %s document', (kind) => {
  test('all judge it alike, and what was accepted makes one document in any order', () => {
    let accepted = 0
    let refused = 0
    for (const seed of seeds(150)) {
      const group = runHostileGroup(kind, seed, 40)
      accepted += group.accepted
      refused += group.refused
      const [first, ...others] = group.documents
      const digest = first!.digest()
      for (const document of [...others, replay(kind, group, seed), openLiveDocument(kind, first!.state())]) {
        expect(document.digest(), `seed ${seed}`).toBe(digest)
        expect(document.hasPending(), `seed ${seed}`).toBe(false)
      }
    }
    expect(accepted).toBeGreaterThan(refused)
    expect(refused).toBeGreaterThan(100)
  })
})

describe('what makes Yjs show different documents after different orders is refused', () => {
  const kindOf = (edit: Edit): 'text' | 'json' => (edit === firstText ? 'text' : 'json')

  test.each<[string, Edit, Edit | HandMade, HandMade, string]>([
    [
      'a character behind what it is before',
      firstText,
      { origin: [1, 1], right: [1, 2], ...string('z') },
      { origin: [1, 2], right: [1, 1], ...string('h') },
      'no neighbours',
    ],
    [
      'a character on both sides of another',
      firstText,
      { origin: [1, 0], right: [1, 1], ...string('z') },
      { origin: [1, 1], right: [1, 1], ...string('h') },
      'no neighbours',
    ],
    [
      'an element on both sides of another',
      firstJson,
      merge({ l: [1, 'z', 2, 3] }),
      { origin: [1, 2], right: [1, 2], ...any(7) },
      'no neighbours',
    ],
    ['an element before one of another list', firstJson, merge({ l: null }), { origin: [1, 6], right: [1, 2], ...any(7) }, 'no neighbours'],
    [
      'a value before an element of a list',
      firstJson,
      merge({ l: null }),
      { origin: [1, 7], right: [1, 1], keyed: true, ...any(7) },
      'a value of a key before another',
    ],
    [
      'a value before one of another map',
      firstJson,
      merge({ m: null }),
      { origin: [1, 8], right: [1, 9], keyed: true, ...any(7) },
      'a value of a key before another',
    ],
  ])('%s', (_, firstEdit, other, struct, reason) => {
    const kind = kindOf(firstEdit)
    const document = openLiveDocument(kind, null)
    write(document, 1, firstEdit)
    const state = document.state()
    const context = contextAfter(document)
    const update = handMade({ client: hostile, structs: [struct] })
    const refusal = { ok: false, reason: expect.stringContaining(reason) as unknown }
    expect(document.check(update, context)).toEqual(refusal)
    const concurrent = 'content' in other ? handMade({ client: 9, structs: [other] }) : write(openLiveDocument(kind, state), 9, other)
    document.apply(concurrent)
    expect(document.check(update, context)).toEqual(refusal)
    expect(openLiveDocument(kind, document.state()).check(update, context)).toEqual(refusal)

    const shownAfter = (updates: readonly Uint8Array[]): unknown => {
      const doc = new Y.Doc()
      for (const update of [state, ...updates]) Y.applyUpdate(doc, update)
      return kind === 'text' ? doc.getText('text').toJSON() : doc.getMap('json').toJSON()
    }
    expect(shownAfter([update, concurrent])).not.toEqual(shownAfter([concurrent, update]))
  })
})

describe('the place of an item', () => {
  const place = (kind: 'text' | 'json', ...structs: readonly HandMade[]) => {
    const document = openLiveDocument(kind, null)
    write(document, 1, kind === 'text' ? firstText : firstJson)
    return document.check(handMade({ client: hostile, structs }), contextAfter(document))
  }

  test.each<[string, 'text' | 'json', readonly HandMade[]]>([
    ['at the start of a text', 'text', [{ right: [1, 0], ...string('h') }]],
    ['at the end of a text', 'text', [{ origin: [1, 3], ...string('h') }]],
    [
      'behind and within what the same update brought',
      'text',
      [
        { origin: [1, 1], right: [1, 2], ...string('hij') },
        { origin: [hostile, 2], right: [1, 2], ...string('k') },
        { origin: [hostile, 0], right: [hostile, 1], ...string('l') },
        { origin: [1, 1], right: [hostile, 0], ...string('m') },
      ],
    ],
    ['of a new key', 'json', [{ parent: 'json', key: 'new', ...any(7) }]],
    ['of the next value of a key', 'json', [{ origin: [1, 7], keyed: true, ...any(7) }]],
    [
      'in containers that the same update brought',
      'json',
      [
        { parent: 'json', key: 'new', ...container(0) },
        { parent: [hostile, 0], ...container(1) },
        { parent: [hostile, 1], key: 'k', ...any(7) },
        { origin: [hostile, 2], keyed: true, ...any(8) },
        { origin: [hostile, 1], ...any(1, 2) },
      ],
    ],
  ])('may be %s', (_, kind, structs) => {
    expect(place(kind, ...structs)).toMatchObject({ ok: true })
  })

  test.each<[string, 'text' | 'json', readonly HandMade[], string]>([
    ['at the start where there is something', 'text', [{ parent: 'text', ...string('h') }], 'no neighbours'],
    ['at the end of the middle', 'text', [{ origin: [1, 1], ...string('h') }], 'no neighbours'],
    ['across a character', 'text', [{ origin: [1, 0], right: [1, 2], ...string('h') }], 'no neighbours'],
    [
      'where the same update put another item',
      'text',
      [
        { origin: [1, 1], right: [1, 2], ...string('h') },
        { origin: [1, 1], right: [1, 2], ...string('i') },
      ],
      'no neighbours',
    ],
    ['of a key that has a value', 'json', [{ parent: 'json', key: 'n', ...any(7) }], 'no neighbours'],
    [
      'behind a value that is not the last one',
      'json',
      [
        { origin: [1, 7], keyed: true, ...any(7) },
        { origin: [1, 7], keyed: true, ...any(8) },
      ],
      'no neighbours',
    ],
    ['in a list that is not empty', 'json', [{ parent: [1, 0], ...any(7) }], 'no neighbours'],
    ['of a key in a list', 'json', [{ parent: [1, 0], key: 'k', ...any(7) }], 'outside of a map'],
    ['of an element in a map', 'json', [{ parent: [1, 8], ...any(7) }], 'without one in a map'],
    ['of an element behind a value', 'json', [{ origin: [1, 7], ...any(7) }], 'without one in a map'],
    ['of a value behind an element', 'json', [{ origin: [1, 3], keyed: true, ...any(7) }], 'outside of a map'],
    ['inside of a number', 'json', [{ parent: [1, 7], key: 'k', ...any(7) }], 'no container'],
    [
      'inside of a number of the same update',
      'json',
      [
        { parent: 'json', key: 'new', ...any(7) },
        { parent: [hostile, 0], key: 'k', ...any(7) },
      ],
      'no container',
    ],
  ])('may not be %s', (_, kind, structs, reason) => {
    expect(place(kind, ...structs)).toEqual({ ok: false, reason: expect.stringContaining(reason) as unknown })
  })

  test('in a container is judged alike whether its deletion has come or not, and what it takes makes one document', () => {
    const document = openLiveDocument('json', null)
    write(document, 1, firstJson)
    const context = contextAfter(document)
    const good = handMade({ client: hostile, structs: [{ origin: [1, 1], right: [1, 2], ...any(7) }] })
    const bad = handMade({ client: hostile, structs: [{ origin: [1, 1], right: [1, 3], ...any(7) }] })
    const without = openLiveDocument('json', document.state())
    const deletion = write(without, 9, merge({ l: null }))
    for (const judge of [document, without, openLiveDocument('json', without.state())]) {
      expect(judge.check(good, context)).toMatchObject({ ok: true })
      expect(judge.check(bad, context)).toMatchObject({ ok: false })
    }
    document.apply(good)
    document.apply(deletion)
    without.apply(good)
    expect(without.digest()).toBe(document.digest())
  })

  test('is no deeper than a value may be, however many updates go there', () => {
    const document = openLiveDocument('json', null)
    const context: UpdateContext = { client: hostile, stamp, pastClock: () => 0 }
    const nest = (clock: number) =>
      handMade({ client: hostile, clock, structs: [{ parent: clock === 0 ? 'json' : [hostile, clock - 1], key: 'k', ...container(1) }] })
    // The root is one of the containers that a value may be in.
    for (let clock = 0; clock < jsonDepthMax - 1; clock++) {
      expect(document.check(nest(clock), context)).toMatchObject({ ok: true })
      document.apply(nest(clock))
    }
    expect(document.check(nest(jsonDepthMax - 1), context)).toEqual({ ok: false, reason: 'containers nested too deeply' })
  })

  test('may have any number of concurrent items between its neighbours, and each is passed once for an update', () => {
    const document = openLiveDocument('text', null)
    write(document, 1, put('ab'))
    const context = contextAfter(document)
    const rival = 7
    const many = 5_000
    // Each before the one before it, so that none melts into another.
    const between = Array.from({ length: many }, (_, clock): HandMade => ({
      origin: [1, 0],
      right: clock === 0 ? [1, 1] : [rival, clock - 1],
      ...string('x'),
    }))
    document.apply(handMade({ client: rival, structs: between }))
    const structs = Array.from({ length: many }, (_, clock): HandMade => ({
      origin: clock === 0 ? [1, 0] : [hostile, clock - 1],
      right: [1, 1],
      ...string('h'),
    }))
    let asked = 0
    const counting: UpdateContext = {
      ...context,
      pastClock(client) {
        asked += 1
        return context.pastClock(client)
      },
    }
    expect(document.check(handMade({ client: hostile, structs }), counting)).toMatchObject({ ok: true })
    expect(asked).toBeGreaterThan(many)
    expect(asked).toBeLessThan(3 * many)
  })
})
