/** Whatever a body lacks or gets wrong is the client's mistake, said with its field: never an internal error. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { virtualClock } from '#sim/clock.ts'
import { seededRandom } from '#sim/random.ts'
import { Namespace } from '../api/core/v1/namespace.ts'
import { ServiceAccount } from '../api/core/v1/service-account.ts'
import { allKinds } from '../api/index.ts'
import { openMemoryStore } from '../store/memory/store.ts'
import { type Api, createApi } from './api.ts'
import { localClient } from './local-client.ts'

const context = { user: { name: 'tester', groups: ['system:masters'] }, dryRun: false, fieldManager: 'test', fieldValidation: 'Ignore', tracked: false, warn: () => undefined } as const

async function withApi(body: (api: Api) => Promise<void>): Promise<void> {
  const store = openMemoryStore()
  const api = await createApi({ store, kinds: allKinds, clock: virtualClock(), random: seededRandom(7), log: silentLogger, ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] } })
  try {
    const client = localClient({ api })
    await client.create(Namespace, { metadata: { name: 'default' } })
    await client.create(ServiceAccount, { metadata: { name: 'default', namespace: 'default' } })
    await body(api)
  } finally {
    await api.close()
    await store.close()
  }
}

async function attempt(api: Api, kind: { readonly group: string; readonly version: string; readonly plural: string; readonly namespaced: boolean }, body: object): Promise<void> {
  try {
    await api.create(api.resources.need(kind), kind.namespaced ? 'default' : '', body, context)
  } catch (error) {
    assert.ok(isFault(error) && error.code !== 'internal', `${kind.plural} ${JSON.stringify(body)}: ${error instanceof Error ? (error.stack ?? '') : String(error)}`)
  }
}

const stored = allKinds.filter(({ verbs }) => verbs.includes('create') && verbs.includes('get'))

test('a pod without containers is refused with the field', async () => {
  await withApi(async (api) => {
    const pods = { group: '', version: 'v1', plural: 'pods', namespaced: true }
    await assert.rejects(api.create(api.resources.need(pods), 'default', { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' }, spec: {} }, context), (error: unknown) => isFault(error, 'unprocessable') && /spec\.containers: Required value/.test(error.message))
  })
})

test('empty, missing and wrongly typed parts of any kind are refused, never internal errors', async () => {
  await withApi(async (api) => {
    const parts = fc.constantFrom<unknown>(undefined, null, {}, [], '', 'text', 0, -1, true, { containers: null }, { containers: [{}] }, { template: {} }, { template: { spec: {} } }, { ports: [{}] }, { selector: {} })
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...stored), parts, parts, async (kind, spec, data) => {
        await attempt(api, kind, { apiVersion: kind.group === '' ? kind.version : `${kind.group}/${kind.version}`, kind: kind.kind, metadata: { name: 'x' }, spec, data })
      }),
      { numRuns: 500 },
    )
  })
})
