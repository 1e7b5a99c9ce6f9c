/**
 * The API server as a whole, for `apps/server.ts` to wire: core, authorizers (built-in, then RBAC), HTTP front and TLS listeners. The store
 * and the PKI are handed in and stay the caller's.
 *
 * ```ts
 * const pki = await openPki({ folder: '/var/lib/berth/pki', serverNames: ['10.0.0.5'], serviceAddress: '10.43.0.1', clock, random })
 * const store = await openSqliteStore({ folder: '/var/lib/berth/store', clock })
 * const server = await startApiServer({ store, pki, kinds: allKinds, groupOrder, clock, random, log,
 *   ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30000, 32767] }, listen: [{ host: '127.0.0.1', port: 6443 }] })
 * startControllers(server.client)   // in-process client over the same caches; system namespaces and the `kubernetes` service are theirs
 * await server.close()
 * ```
 */
import { sleep, type Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import type { AnyKind } from '#schema/kind.ts'
import { TokenRequest } from '../api/authentication/v1/reviews.ts'
import { Eviction } from '../api/policy/v1/eviction.ts'
import { Role } from '../api/rbac/v1/roles.ts'
import type { Client } from '../contract/client.ts'
import type { Store } from '../contract/store.ts'
import { serverVersion } from '../version.ts'
import { builtinAuthorizer } from './access.ts'
import { createApi, type Api } from './api.ts'
import { authentication, type StaticToken } from './http/authentication.ts'
import { createFront } from './http/front.ts'
import { kubeletProxy } from './http/kubelet-proxy.ts'
import { startListener, type Listener } from './http/listener.ts'
import { objectProxy } from './http/object-proxy.ts'
import { protobufCodec } from './http/protobuf.ts'
import { reviewKinds } from './http/reviews.ts'
import { localClient } from './local-client.ts'
import type { Pki } from './pki/files.ts'
import { aesSealer } from './pki/sealer.ts'
import { rbacAuthorizer, rulesFor } from './rbac/authorizer.ts'
import { ensureDefaultRoles } from './rbac/default-roles.ts'
import type { EscalationPorts } from './rbac/escalation.ts'
import { grants } from './rbac/grants.ts'
import { serviceAccountTokens } from './pki/service-account-tokens.ts'
import type { ServiceRanges } from './strategies/services.ts'

export interface ApiServerOptions {
  readonly store: Store
  readonly pki: Pki
  readonly kinds: readonly AnyKind[]
  readonly groupOrder: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly ranges: ServiceRanges
  /** Port 0 takes a free one. */
  readonly listen: readonly { readonly host: string; readonly port: number }[]
  readonly clusterDomain?: string
  readonly staticTokens?: readonly StaticToken[]
  /** More that /readyz waits for, by name. */
  readonly ready?: () => Readonly<Record<string, boolean>>
}

export interface ApiServer {
  readonly api: Api
  /** As system:masters, over the caches of this process. */
  readonly client: Client
  /** Where it listened at the start; the first is what a kubeconfig should name. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[]
  /** Listens on one more address, e.g. one that the machine has only since the pod bridge is up. `unavailable` while it does not have it. */
  listen(address: { readonly host: string; readonly port: number }): Promise<void>
  close(): Promise<void>
}

/** Counts the changes of roles and bindings. */
function rbacChanges(api: Api): () => number {
  let count = 0
  for (const resource of api.resources.all) if (resource.kind.group === Role.group) api.listen(resource, () => (count += 1))
  return () => count
}

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { store, pki, clock, random, log } = options
  const issuer = `https://kubernetes.default.svc.${options.clusterDomain ?? 'cluster.local'}`
  const tokens = serviceAccountTokens({ key: pki.serviceAccountKey, issuer, clock, random })
  let escalation: EscalationPorts | undefined
  const api = await createApi({ store, kinds: options.kinds, clock, random, log, ranges: options.ranges, sealer: aesSealer(pki.encryptionKey, random), tokens, escalation: () => escalation })
  const held = grants(api.surroundings, rbacChanges(api))
  const authorizer = rbacAuthorizer(builtinAuthorizer(api.surroundings), held)
  escalation = { grants: held, authorizer }
  await ensureDefaultRoles(localClient({ api }))
  const behind = { surroundings: api.surroundings, authority: pki.authority.certificate, client: pki.kubeletClient }
  const front = createFront({
    api,
    kinds: options.kinds,
    groupOrder: options.groupOrder,
    authentication: authentication({ tokens, staticTokens: options.staticTokens ?? [], surroundings: api.surroundings }),
    authorizer,
    rules: (user, namespace) => rulesFor(held, user, namespace),
    answers: { protobuf: protobufCodec([...options.kinds, ...reviewKinds, TokenRequest, Eviction]), nowMs: () => clock.nowMs() },
    kubelets: kubeletProxy(behind),
    proxy: objectProxy(behind),
    log,
    version: serverVersion,
    openid: {
      '/.well-known/openid-configuration': {
        issuer,
        jwks_uri: `${issuer}/openid/v1/jwks`,
        response_types_supported: ['id_token'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['ES256'],
      },
      '/openid/v1/jwks': tokens.keySet(),
    },
    ready: options.ready ?? (() => ({})),
  })
  const start = (addresses: ApiServerOptions['listen']): Promise<Listener> => startListener({ addresses, server: pki.server, authority: pki.authority.certificate, front })
  const listeners = [await start(options.listen)]
  return {
    api,
    client: localClient({ api, pause: () => sleep(clock, 0) }),
    addresses: listeners.flatMap(({ addresses }) => addresses),
    async listen(address) {
      listeners.push(await start([address]))
    },
    async close() {
      await api.close()
      await Promise.all(listeners.map((listener) => listener.close()))
    },
  }
}
