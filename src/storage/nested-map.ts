/** Maps within maps, made as they are needed. */

/** The value under `key`, made where there is none. */
export function obtain<Key, Value>(map: Map<Key, Value>, key: Key, create: () => Value): Value {
  let value = map.get(key)
  if (value === undefined) {
    value = create()
    map.set(key, value)
  }
  return value
}

export function newMap<Key, Value>(): Map<Key, Value> {
  return new Map<Key, Value>()
}
