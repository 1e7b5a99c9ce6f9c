/**
 * Who asks: a client certificate of our authority, a static token, or a service account token; otherwise anonymous.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { Fault } from '#base/fault.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { UserInfo } from '../../contract/authorizer.ts'
import { asKind, metaOf } from '../entry.ts'
import type { ServiceAccountTokens, VerifiedToken } from '../pki/service-account-tokens.ts'
import type { Surroundings } from '../strategy.ts'

/** A token that is known beforehand, e.g. for bootstrapping a node. `groups` without system:authenticated. */
export interface StaticToken {
  readonly token: string
  readonly user: UserInfo
}

export interface AuthenticationOptions {
  readonly tokens: ServiceAccountTokens
  readonly staticTokens: readonly StaticToken[]
  readonly surroundings: Surroundings
}

/** `identity` is one object per connection: HTTP/2 hands out a new wrapper around the socket for each request. */
export interface Connection {
  readonly identity: object
  readonly socket: TLSSocket
}

export interface Authentication {
  /** Of a request on `connection` with this Authorization header. Throws `unauthenticated` for credentials that are wrong. */
  caller(connection: Connection, authorization: string | undefined): UserInfo
  /** Of a token alone, for TokenReview; undefined when it is not accepted. */
  ofToken(token: string, audiences: readonly string[]): UserInfo | undefined
}

const anonymous: UserInfo = { name: 'system:anonymous', groups: ['system:unauthenticated'] }

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function asList(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === 'string' ? [value] : value
}

/** Undefined without a client certificate. TLS has verified the chain when `authorized` says so. */
function certificateUser(socket: TLSSocket): UserInfo | undefined {
  const certificate = socket.getPeerCertificate()
  // Without a certificate node gives an empty object, whatever its types say.
  if (Object.keys(certificate).length === 0) return undefined
  const subject: Readonly<Record<string, string | string[] | undefined>> = { ...certificate.subject }
  if (!socket.authorized) throw new Fault('unauthenticated', `the client certificate is not accepted: ${String(socket.authorizationError)}`)
  const name = asList(subject['CN'])[0]
  if (name === undefined) throw new Fault('unauthenticated', 'the client certificate names no user: it has no CN')
  return { name, groups: [...asList(subject['O']), 'system:authenticated'] }
}

export function authentication({ tokens, staticTokens, surroundings }: AuthenticationOptions): Authentication {
  const hashed = staticTokens.map(({ token, user }) => ({ hash: sha256(token), user: { ...user, groups: [...user.groups, 'system:authenticated'] } }))
  const ofConnection = new WeakMap<object, UserInfo | 'none'>()

  const serviceAccount = (token: string, audiences: readonly string[]): UserInfo => {
    const verified = tokens.verify(token)
    if (!verified.audiences.some((audience) => audiences.includes(audience))) throw new Fault('unauthenticated', `the token is for other audiences: ${verified.audiences.join(', ')}`)
    checkStillThere(verified, surroundings)
    const { namespace, serviceAccount: account, pod } = verified
    const extra = pod === undefined ? undefined : { 'authentication.kubernetes.io/pod-name': [pod.name], 'authentication.kubernetes.io/pod-uid': [pod.uid] }
    return { name: `system:serviceaccount:${namespace}:${account.name}`, uid: account.uid, groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'], extra }
  }
  const ofToken = (token: string, audiences: readonly string[]): UserInfo => {
    const hash = sha256(token)
    const found = hashed.find((known) => timingSafeEqual(known.hash, hash))
    return found?.user ?? serviceAccount(token, audiences)
  }
  return {
    caller({ identity, socket }, authorization) {
      if (authorization !== undefined) {
        const token = /^Bearer\s+(\S+)$/i.exec(authorization)?.[1]
        if (token === undefined) throw new Fault('unauthenticated', 'the Authorization header is none that is known here: use Bearer')
        return ofToken(token, [tokens.issuer])
      }
      let known = ofConnection.get(identity)
      if (known === undefined) {
        known = certificateUser(socket) ?? 'none'
        ofConnection.set(identity, known)
      }
      return known === 'none' ? anonymous : known
    },
    ofToken(token, audiences) {
      try {
        return ofToken(token, audiences.length === 0 ? [tokens.issuer] : audiences)
      } catch (error) {
        if (error instanceof Fault && error.code === 'unauthenticated') return undefined
        throw error
      }
    },
  }
}

/** A token dies with its service account, and with the pod it is bound to. */
function checkStillThere({ namespace, serviceAccount, pod }: VerifiedToken, surroundings: Surroundings): void {
  const account = surroundings.object({ group: '', plural: 'serviceaccounts' }, { namespace, name: serviceAccount.name })
  if (account === undefined || metaOf(account).uid !== serviceAccount.uid) throw new Fault('unauthenticated', `the service account ${namespace}/${serviceAccount.name} of the token is gone`)
  if (pod === undefined) return
  const bound = surroundings.object({ group: '', plural: 'pods' }, { namespace, name: pod.name })
  if (bound === undefined || asKind<Pod>(bound).metadata.uid !== pod.uid) throw new Fault('unauthenticated', `the pod ${namespace}/${pod.name} that the token is bound to is gone`)
}
