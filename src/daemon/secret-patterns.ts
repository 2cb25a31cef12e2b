/**
 * What passwords, keys and tokens look like. Well-known formats only: a warning that is wrong once in ten times is not read any more.
 * Whoever uses this shows what `masked` leaves of a text and nothing else.
 */

/** A kind of secret, as people call it. */
interface SecretPattern {
  readonly kind: string
  /** With `g`. Each repetition is bounded or of one class, so that no text makes it slow. */
  readonly pattern: RegExp
}

/** Something that stands where a password would: a name of one, a gap to fill, stars. */
const placeholder =
  /^([*x.•_-]+|\$.*|<.*|\{.*|\[.*|%.*|(your|my|the|some|example|changeme|redacted|removed|hidden|null|none|true|false).*)$/i

const patterns: readonly SecretPattern[] = [
  { kind: 'private key', pattern: /-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----/g },
  { kind: 'AWS access key', pattern: /\b(?:AKIA|ASIA)[A-Z2-7]{16}\b/g },
  { kind: 'GitHub token', pattern: /\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b/g },
  { kind: 'GitLab token', pattern: /\bglpat-[\w-]{20,64}/g },
  { kind: 'API key (sk-...)', pattern: /\bsk-(?=[\w-]{0,40}\d)(?:[a-z0-9]{1,12}-){0,3}[A-Za-z0-9_]{20,200}/g },
  { kind: 'Slack token', pattern: /\bxox[abeoprs]-[A-Za-z0-9-]{10,250}/g },
  { kind: 'Google API key', pattern: /\bAIza[\w-]{35}(?![\w-])/g },
  { kind: 'Stripe key', pattern: /\b[rs]k_live_[A-Za-z0-9]{16,250}\b/g },
  { kind: 'JSON web token', pattern: /\beyJ[\w-]{8,500}\.eyJ[\w-]{8,4000}\.[\w-]{8,2000}/g },
  { kind: 'selfsame token', pattern: /\bselfsame-token-[\w-]{43}/g },
  {
    kind: 'password',
    pattern:
      /\b(?:password|passwd|passphrase|pwd|api[_-]?key|secret[_-]?key|client[_-]?secret|access[_-]?token)["']?\s{0,3}[=:]\s{0,3}["']?(?<value>[^\s"',;]{8,200})/gi,
  },
]

/** Characters of a secret that may be shown. */
const shownMax = 4

/** A secret in a text: its kind, and where it stands in UTF-16 units. */
export interface Secret {
  readonly kind: string
  readonly start: number
  readonly end: number
}

/** The secrets in a text, in order; where two kinds overlap, the first of the list above. */
export function secretsIn(text: string): readonly Secret[] {
  const found: Secret[] = []
  for (const { kind, pattern } of patterns) {
    for (const match of text.matchAll(pattern)) {
      const { value } = match.groups ?? {}
      if (value !== undefined && !isPasswordLike(value)) continue
      const secret = { kind, start: match.index, end: match.index + match[0].length }
      if (!found.some(({ end, start }) => secret.start < end && start < secret.end)) found.push(secret)
    }
  }
  return found.toSorted((a, b) => a.start - b.start)
}

/** The text with no more than the first characters of each secret in it. */
export function masked(text: string): string {
  return secretsIn(text).reduceRight((rest, { end, start }) => `${rest.slice(0, start + shownMax)}...${rest.slice(end)}`, text)
}

/** A word of prose is none: a password that is worth stealing has letters and something else. */
function isPasswordLike(value: string): boolean {
  return !placeholder.test(value) && /[A-Za-z]/.test(value) && /[^A-Za-z.)\]]/.test(value)
}
