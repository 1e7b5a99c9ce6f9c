/**
 * Tokens that another server gives out (distribution "Token Authentication Implementation"): JSON Web Tokens (RFC 7519), signed with one
 * of the keys we were told of. They say themselves what their bearer may do.
 */
import type { KeyObject } from 'node:crypto'
import { createPublicKey, verify } from 'node:crypto'
import type { Clock } from '#base/clock.ts'
import { asFault, Fault } from '#base/fault.ts'
import { isRecord } from '#base/json.ts'
import { isRepository } from '#oci/reference.ts'
import type { Access, Token } from './tokens.ts'

export interface TokenServer {
  /** URL where clients get tokens. */
  readonly realm: string
  /** Our name there: what tokens for us are addressed to. */
  readonly service: string
  /** Who must have issued them. */
  readonly issuer: string
  /** A JSON Web Key Set (RFC 7517), or PEM certificates or public keys. */
  readonly keys: string
}

interface Algorithm {
  readonly hash: string | null
  readonly keyType: string
  /** Signatures of elliptic curves stand as two numbers side by side. */
  readonly options?: { readonly dsaEncoding: 'ieee-p1363' }
}

const algorithms: Readonly<Record<string, Algorithm>> = {
  RS256: { hash: 'sha256', keyType: 'rsa' },
  RS384: { hash: 'sha384', keyType: 'rsa' },
  RS512: { hash: 'sha512', keyType: 'rsa' },
  ES256: { hash: 'sha256', keyType: 'ec', options: { dsaEncoding: 'ieee-p1363' } },
  ES384: { hash: 'sha384', keyType: 'ec', options: { dsaEncoding: 'ieee-p1363' } },
  EdDSA: { hash: null, keyType: 'ed25519' },
}

/** Clocks differ a little. */
const leewaySeconds = 60
const maxTokenLength = 64 * 1024

interface NamedKey {
  readonly id: string | undefined
  readonly key: KeyObject
}

export class ForeignTokens {
  readonly #server: TokenServer
  readonly #clock: Pick<Clock, 'nowMs'>
  readonly #keys: readonly NamedKey[]

  /** `invalidArgument` when the keys cannot be read. */
  constructor(server: TokenServer, clock: Pick<Clock, 'nowMs'>) {
    this.#server = server
    this.#clock = clock
    this.#keys = readKeys(server.keys)
  }

  /** undefined for what is forged, damaged, too old, or meant for somebody else. */
  read(text: string): Token | undefined {
    const [head, body, signature, more] = text.split('.')
    if (head === undefined || body === undefined || signature === undefined || more !== undefined || text.length > maxTokenLength) return undefined
    const header = decode(head)
    const algorithm = typeof header?.['alg'] === 'string' && Object.hasOwn(algorithms, header['alg']) ? algorithms[header['alg']] : undefined
    if (algorithm === undefined || !this.#isSigned(`${head}.${body}`, Buffer.from(signature, 'base64url'), algorithm, header?.['kid'])) return undefined
    const claims = decode(body)
    if (claims === undefined || !this.#isForUs(claims)) return undefined
    return { subject: typeof claims['sub'] === 'string' ? claims['sub'] : '', access: Array.isArray(claims['access']) ? claims['access'].flatMap(accessOf) : [] }
  }

  #isSigned(text: string, signature: Buffer, { hash, keyType, options }: Algorithm, id: unknown): boolean {
    const fitting = this.#keys.filter(({ key }) => key.asymmetricKeyType === keyType)
    const named = fitting.filter((each) => each.id !== undefined && each.id === id)
    return (named.length > 0 ? named : fitting).some(({ key }) => verify(hash, Buffer.from(text), { key, ...options }, signature))
  }

  #isForUs(claims: Readonly<Record<string, unknown>>): boolean {
    const nowSeconds = this.#clock.nowMs() / 1000
    const { iss, aud, exp, nbf } = claims
    const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
    return iss === this.#server.issuer && audiences.includes(this.#server.service) && typeof exp === 'number' && exp + leewaySeconds > nowSeconds && (nbf === undefined || (typeof nbf === 'number' && nbf - leewaySeconds <= nowSeconds))
  }
}

function decode(part: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return isRecord(value) ? value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function accessOf(entry: unknown): readonly Access[] {
  if (!isRecord(entry) || entry['type'] !== 'repository' || typeof entry['name'] !== 'string' || !isRepository(entry['name']) || !Array.isArray(entry['actions'])) return []
  const words: readonly unknown[] = entry['actions']
  return [{ repository: entry['name'], actions: (['pull', 'push', 'delete'] as const).filter((action) => words.includes(action) || words.includes('*')) }]
}

function readKeys(text: string): readonly NamedKey[] {
  try {
    const keys = text.trimStart().startsWith('{') ? keySet(text) : (text.match(/-----BEGIN [A-Z ]+-----[\s\S]+?-----END [A-Z ]+-----/g) ?? []).map((pem) => ({ id: undefined, key: createPublicKey(pem) }))
    if (keys.length > 0) return keys
  } catch (error) {
    throw new Fault('invalidArgument', `the token server's keys cannot be read: ${asFault(error).message}`, { cause: error })
  }
  throw new Fault('invalidArgument', 'the token server has no keys: expected a JSON Web Key Set, or PEM certificates or public keys')
}

function keySet(text: string): readonly NamedKey[] {
  const value: unknown = JSON.parse(text)
  const list: readonly unknown[] = isRecord(value) && Array.isArray(value['keys']) ? value['keys'] : []
  return list.filter(isRecord).map((jwk) => ({ id: typeof jwk['kid'] === 'string' ? jwk['kid'] : undefined, key: createPublicKey({ key: jwk, format: 'jwk' }) }))
}
