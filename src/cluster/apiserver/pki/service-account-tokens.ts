/**
 * Service account tokens: JWTs signed with ES256 (RFC 7519, RFC 7518) with the claims of
 * https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens.
 */
import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { uuid4, type Random } from '#base/random.ts'
import { isJsonArray, isJsonObject, type JsonObject } from '#schema/json.ts'
import type { TokenIssuer } from '../subresources.ts'

export interface TokenOptions {
  /** PEM of a P-256 private key. */
  readonly key: string
  /** E.g. `https://kubernetes.default.svc.cluster.local`; also the audience of the API server itself. */
  readonly issuer: string
  readonly clock: Clock
  readonly random: Random
}

export interface VerifiedToken {
  readonly namespace: string
  readonly serviceAccount: { readonly name: string; readonly uid: string }
  readonly pod: { readonly name: string; readonly uid: string } | undefined
  readonly audiences: readonly string[]
}

export interface ServiceAccountTokens extends TokenIssuer {
  readonly issuer: string
  /** Checks signature, issuer and times. Throws `unauthenticated`. Whether the objects still exist is the caller's to check. */
  verify(token: string): VerifiedToken
  /** The public key as a JSON Web Key Set. */
  keySet(): { readonly keys: readonly object[] }
}

const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

export function serviceAccountTokens({ key, issuer, clock, random }: TokenOptions): ServiceAccountTokens {
  const privateKey = createPrivateKey(key)
  const publicKey = createPublicKey(privateKey)
  const jwk = publicKey.export({ format: 'jwk' })
  const keyId = createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64url')
  const nowSeconds = (): number => Math.floor(clock.nowMs() / 1000)
  return {
    issuer,
    async issue({ namespace, serviceAccount, audiences, expirationSeconds, boundTo }) {
      const now = nowSeconds()
      const bound = boundTo === undefined ? {} : { [boundTo.kind.toLowerCase()]: { name: boundTo.name, uid: boundTo.uid } }
      const claims = {
        aud: audiences.length > 0 ? audiences : [issuer],
        exp: now + expirationSeconds,
        iat: now,
        iss: issuer,
        jti: uuid4(random),
        'kubernetes.io': { namespace, serviceaccount: serviceAccount, ...bound },
        nbf: now,
        sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
      }
      const content = `${base64url({ alg: 'ES256', kid: keyId, typ: 'JWT' })}.${base64url(claims)}`
      const signature = sign('sha256', Buffer.from(content), { key: privateKey, dsaEncoding: 'ieee-p1363' })
      return { token: `${content}.${signature.toString('base64url')}`, expiresMs: claims.exp * 1000 }
    },
    verify(token) {
      const [header = '', payload = '', signature = ''] = token.split('.')
      const { alg } = decode(header)
      const genuine = alg === 'ES256' && verify('sha256', Buffer.from(`${header}.${payload}`), { key: publicKey, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'))
      if (!genuine) throw refused('its signature is not ours')
      return checked(decode(payload), issuer, nowSeconds())
    },
    keySet: () => ({ keys: [{ ...jwk, use: 'sig', alg: 'ES256', kid: keyId }] }),
  }
}

function refused(why: string): Fault {
  return new Fault('unauthenticated', `the service account token is not accepted: ${why}`)
}

function decode(part: string): JsonObject {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    if (isJsonObject(value)) return value
  } catch (cause) {
    throw new Fault('unauthenticated', 'the token is no JSON Web Token', { cause })
  }
  throw refused('it is no JSON Web Token')
}

function checked(claims: JsonObject, issuer: string, now: number): VerifiedToken {
  if (claims['iss'] !== issuer) throw refused(`its issuer is not ${issuer}`)
  if (typeof claims['exp'] !== 'number' || claims['exp'] <= now) throw refused('it has expired')
  if (typeof claims['nbf'] === 'number' && claims['nbf'] > now + 60) throw refused('it is not valid yet')
  const own = claims['kubernetes.io']
  const account = isJsonObject(own) ? own['serviceaccount'] : undefined
  if (!isJsonObject(own) || !isJsonObject(account)) throw refused('it names no service account')
  const { pod } = own
  return {
    namespace: claim(own, 'namespace'),
    serviceAccount: { name: claim(account, 'name'), uid: claim(account, 'uid') },
    pod: isJsonObject(pod) ? { name: claim(pod, 'name'), uid: claim(pod, 'uid') } : undefined,
    audiences: isJsonArray(claims['aud']) ? claims['aud'].filter((audience) => typeof audience === 'string') : [],
  }
}

function claim(claims: JsonObject, name: string): string {
  const value = claims[name]
  if (typeof value !== 'string' || value === '') throw refused(`its claim ${name} is no text`)
  return value
}
