/**
 * Names of documents as names of files, and back. What a file system could refuse, confuse or read as something else is percent-encoded, so
 * names in use, such as `SOUL.md`, stay as they are.
 *
 * - Letters of ASCII, digits, dot, underscore, hyphen and inner spaces stand for themselves, all else for its UTF-8 bytes as `%2F`.
 * - Encoded are also a dot, hyphen or space at the begin, a dot or space at the end, and the first character of a name that a system, or the
 *   export itself, has taken.
 * - Names that differ only in case have their capital letters encoded, all of them.
 * - What is then longer than a file name may be is cut in parts, each but the last a directory whose name ends in `%`.
 */

/** Characters of one file name: file systems end at 255. */
const partLengthMax = 200

/** Names that Windows keeps for devices, whatever follows the first dot, and those of the days of the log `memory`. */
const taken = /^((con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?|\d{4,}-\d\d-\d\d\.md)$/i

/** The path below their directory for each of `names`, which is one kind of documents. `extension` has a dot, or is empty. */
export function fileNamesOf(names: readonly string[], extension: string): ReadonlyMap<string, string> {
  const countByLowerCase = new Map<string, number>()
  for (const name of names) countByLowerCase.set(name.toLowerCase(), (countByLowerCase.get(name.toLowerCase()) ?? 0) + 1)
  const isShared = (name: string): boolean => (countByLowerCase.get(name.toLowerCase()) ?? 0) > 1
  return new Map(names.map((name) => [name, partsOf(encodeName(name, isShared(name)) + extension)]))
}

/** The name that a path below the directory of its kind stands for; undefined where it stands for none. */
export function nameOfFile(path: string, extension: string): string | undefined {
  const parts = path.split('/')
  const last = parts.pop() ?? ''
  const whole = [...parts.map((part) => part.slice(0, -1)), last].join('')
  if (!parts.every((part) => part.endsWith('%')) || !whole.endsWith(extension)) return undefined
  const text = whole.slice(0, whole.length - extension.length)
  try {
    const name = decodeURIComponent(text)
    return isNameOf(text, name) ? name : undefined
  } catch {
    return undefined
  }
}

/** Whether `text` is one of the two ways to write `name`. */
function isNameOf(text: string, name: string): boolean {
  return name !== '' && (text === encodeName(name, false) || text === encodeName(name, true))
}

function encodeName(name: string, withCapitals: boolean): string {
  const plain = withCapitals ? /[a-z0-9._ -]/ : /[A-Za-z0-9._ -]/
  const characters = Array.from(name)
  return characters
    .map((character, index) => {
      const first = index === 0 && (/[. -]/.test(character) || taken.test(name))
      const last = index === characters.length - 1 && /[. ]/.test(character)
      return plain.test(character) && !first && !last ? character : percentOf(character)
    })
    .join('')
}

function percentOf(character: string): string {
  return Array.from(Buffer.from(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('')
}

function partsOf(text: string): string {
  const parts: string[] = []
  for (let from = 0; from < text.length; from += partLengthMax) parts.push(text.slice(from, from + partLengthMax))
  return parts.join('%/')
}
