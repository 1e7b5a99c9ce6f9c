/**
 * A control plane in virtual time: store in memory, API core, controllers. Tests of controllers run their stories on it;
 * `world.ts` adds nodes and faults.
 */
import type { Logger } from '#base/log.ts'
import { silentLogger } from '#base/log.ts'
import { allKinds } from '#cluster/api/index.ts'
import { Namespace } from '#cluster/api/core/v1/namespace.ts'
import { ServiceAccount } from '#cluster/api/core/v1/service-account.ts'
import type { Api } from '#cluster/apiserver/api.ts'
import { createApi } from '#cluster/apiserver/api.ts'
import { localClient } from '#cluster/apiserver/local-client.ts'
import type { TokenIssuer } from '#cluster/apiserver/subresources.ts'
import type { Client } from '#cluster/contract/client.ts'
import type { Store } from '#cluster/contract/store.ts'
import { Controllers } from '#cluster/controllers/index.ts'
import { openMemoryStore } from '#cluster/store/memory/store.ts'
import type { VirtualClock } from './clock.ts'
import { simulatedEpochMs, virtualClock } from './clock.ts'
import type { SeededRandom } from './random.ts'
import { seededRandom } from './random.ts'
import type { Transcript } from './transcript.ts'
import { recordTranscript } from './transcript.ts'

export interface ControlPlane extends AsyncDisposable {
  readonly clock: VirtualClock
  readonly random: SeededRandom
  readonly store: Store
  readonly api: Api
  /** As a user: no faults on the way. */
  readonly client: Client
  readonly transcript: Transcript
}

export interface ControlPlaneOptions {
  readonly seed?: number
  readonly log?: Logger
  /** Which controllers run; none for the default namespace and its service account to be made by hand. */
  readonly controllers?: readonly string[]
}

export const simulatedCa = '-----BEGIN CERTIFICATE-----\nsimulated\n-----END CERTIFICATE-----\n'
export const simulatedRanges = { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] } as const

/** Tokens that nobody checks: the simulation has no transport to authenticate. */
export const simulatedTokens: TokenIssuer = {
  issue: async ({ namespace, serviceAccount }) => ({ token: `simulated:${namespace}:${serviceAccount.name}`, expiresMs: simulatedEpochMs + 365 * 86_400_000 }),
}

export async function startControlPlane({ seed = 1, log = silentLogger, controllers = [] }: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const clock = virtualClock()
  const random = seededRandom(seed)
  const store = openMemoryStore()
  const api = await createApi({ store, kinds: allKinds, clock, random: random.fork('api'), log, ranges: simulatedRanges })
  const client = localClient({ api })
  await client.create(Namespace, { metadata: { name: 'default' } })
  await client.create(ServiceAccount, { metadata: { namespace: 'default', name: 'default' } })
  const transcript = recordTranscript(store, clock)
  const running = new Controllers({ client: localClient({ api }), clock, log, caBundle: simulatedCa }, controllers)
  await clock.settle()
  return {
    clock,
    random,
    store,
    api,
    client,
    transcript,
    async [Symbol.asyncDispose]() {
      await running.close()
      transcript.close()
      await api.close()
      await store.close()
    },
  }
}
