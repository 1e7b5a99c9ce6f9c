/**
 * Bearer tokens (distribution "Token Authentication Specification"): what lets one registry answer anonymous pulls and
 * authenticated pushes, since clients ask for credentials only when the base address challenges them. A token names its
 * subject and what it may do; it is signed with a key of this registry and short-lived.
 */
import { createHmac } from 'node:crypto'
import type { Clock } from '#base/clock.ts'
import { isRecord } from '#base/json.ts'
import { isRepository } from '#oci/reference.ts'
import { equalSecrets } from './htpasswd.ts'

export type Action = 'pull' | 'push' | 'delete'

export interface Access {
  readonly repository: string
  readonly actions: readonly Action[]
}

export interface Token {
  /** Empty for an anonymous one. */
  readonly subject: string
  readonly access: readonly Access[]
}

/** What stands for a user's password: whoever bears it may ask for tokens, for as long as that password is the user's. */
export interface RefreshToken {
  readonly subject: string
  /** Of the password it was given for (`PasswordFile.standing`). */
  readonly standing: string
}

export const tokenLifetimeSeconds = 300

export class Tokens {
  readonly #key: Uint8Array
  readonly #clock: Clock

  constructor(key: Uint8Array, clock: Clock) {
    this.#key = key
    this.#clock = clock
  }

  issue(token: Token): string {
    return this.#seal({ ...token, expiresAtMs: this.#clock.nowMs() + tokenLifetimeSeconds * 1000 })
  }

  /** undefined for what is forged, damaged or too old. */
  read(text: string): Token | undefined {
    const value = this.#open(text)
    // Signed by us, though perhaps by an older version: another shape is as good as no token.
    return isIssued(value) && value.expiresAtMs > this.#clock.nowMs() ? { subject: value.subject, access: value.access } : undefined
  }

  issueRefresh({ subject, standing }: RefreshToken): string {
    return this.#seal({ refresh: subject, standing })
  }

  /** undefined for what is forged or damaged, and for a token of the other kind. */
  readRefresh(text: string): RefreshToken | undefined {
    const value = this.#open(text)
    return isRecord(value) && typeof value['refresh'] === 'string' && typeof value['standing'] === 'string' ? { subject: value['refresh'], standing: value['standing'] } : undefined
  }

  #seal(value: object): string {
    const body = Buffer.from(JSON.stringify(value)).toString('base64url')
    return `${body}.${this.#sign(body)}`
  }

  /** What was sealed here; undefined for anything else. */
  #open(text: string): unknown {
    const [body, signature, more] = text.split('.')
    if (body === undefined || signature === undefined || more !== undefined || !equalSecrets(signature, this.#sign(body))) return undefined
    return JSON.parse(Buffer.from(body, 'base64url').toString('utf8'))
  }

  #sign(body: string): string {
    return createHmac('sha256', this.#key).update(body).digest('base64url')
  }
}

function isIssued(value: unknown): value is Token & { readonly expiresAtMs: number } {
  return isRecord(value) && typeof value['expiresAtMs'] === 'number' && typeof value['subject'] === 'string' && Array.isArray(value['access']) && value['access'].every(isAccess)
}

function isAccess(value: unknown): value is Access {
  return isRecord(value) && typeof value['repository'] === 'string' && Array.isArray(value['actions'])
}

/** Parses `repository:NAME:ACTION[,ACTION…]` scopes; what is no repository scope is left out. */
export function parseScopes(scopes: readonly string[]): readonly Access[] {
  const found: Access[] = []
  for (const scope of scopes.flatMap((text) => text.split(' '))) {
    const match = /^repository(?:\([^)]*\))?:(.+):([a-z*,]+)$/.exec(scope)
    const repository = match?.[1]
    if (repository === undefined || !isRepository(repository)) continue
    const words = (match?.[2] ?? '').split(',')
    const actions = (['pull', 'push', 'delete'] as const).filter((action) => words.includes(action) || words.includes('*'))
    found.push({ repository, actions })
  }
  return found
}

/** The same scopes as text, as an answer names what was granted. */
export function formatScopes(access: readonly Access[]): string {
  return access.map(({ repository, actions }) => `repository:${repository}:${actions.join(',')}`).join(' ')
}
