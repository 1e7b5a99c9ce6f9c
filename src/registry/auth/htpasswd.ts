/** Users from an htpasswd file with bcrypt hashes (`htpasswd -B`). Verified passwords are remembered for a while: bcrypt is slow on purpose. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { compare } from 'bcryptjs'
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'

const rememberedMs = 5 * 60_000
const maxRemembered = 1000

/** Parses `user:$2y$…` lines; others are refused by line number. */
export function parseHtpasswd(text: string): ReadonlyMap<string, string> {
  const users = new Map<string, string>()
  for (const [index, line] of text.split('\n').entries()) {
    const entry = line.trim()
    if (entry === '' || entry.startsWith('#')) continue
    const colon = entry.indexOf(':')
    const hash = entry.slice(colon + 1)
    if (colon < 1 || !/^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$/.test(hash)) throw new Fault('invalidArgument', `htpasswd line ${index + 1}: expected user:bcrypt-hash, as 'htpasswd -B' writes it`)
    users.set(entry.slice(0, colon), hash)
  }
  return users
}

export class PasswordFile {
  readonly #users: ReadonlyMap<string, string>
  readonly #clock: Clock
  /** Proofs of passwords that were right, keyed with a secret of this process, with their end. */
  readonly #verified = new Map<string, number>()
  readonly #secret = randomBytes(32)

  constructor(users: ReadonlyMap<string, string>, clock: Clock) {
    this.#users = users
    this.#clock = clock
  }

  get size(): number {
    return this.#users.size
  }

  /** A word that stays the same for as long as the user keeps the password, and says nothing of it; undefined for an unknown user. */
  standing(user: string): string | undefined {
    const hash = this.#users.get(user)
    return hash === undefined ? undefined : createHash('sha256').update(`${user}\0${hash}`).digest('base64url')
  }

  async verify(user: string, password: string): Promise<boolean> {
    const proof = createHmac('sha256', this.#secret).update(`${user}\0${password}`).digest('hex')
    const until = this.#verified.get(proof)
    if (until !== undefined && until > this.#clock.monotonicMs()) return true
    // An unknown user costs as much as a known one.
    const right = await compare(password, this.#users.get(user) ?? nobodysHash)
    if (!right || !this.#users.has(user)) return false
    if (this.#verified.size >= maxRemembered) this.#verified.clear()
    this.#verified.set(proof, this.#clock.monotonicMs() + rememberedMs)
    return true
  }
}

const nobodysHash = '$2b$10$CwTycUXWue0Thq9StjUM0uJ8Z8W4JzCJ3fVv2pYvXq5vBvPp0yQhK'

/** Equality in constant time. */
export function equalSecrets(a: string, b: string): boolean {
  const left = Buffer.from(a)
  const right = Buffer.from(b)
  return left.length === right.length && timingSafeEqual(left, right)
}
