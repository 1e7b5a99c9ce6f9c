/** Deployments in virtual time: stories with a stand-in for scheduler and kubelets. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ControlPlane } from '#sim/control-plane.ts'
import { startControlPlane } from '#sim/control-plane.ts'
import type { SubmittedDeployment } from '../../api/apps/v1/deployment.ts'
import { Deployment } from '../../api/apps/v1/deployment.ts'
import { ReplicaSet } from '../../api/apps/v1/replica-set.ts'
import { Event } from '../../api/core/v1/event.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { isPodReady } from '../pod-state.ts'
import { assertTranscript, deploymentOf, imageOf, inDefault, moments, obey, setImage, settle } from '../story.ts'

async function story(spec: Partial<NonNullable<SubmittedDeployment['spec']>>, tell: (plane: ControlPlane) => Promise<void>): Promise<void> {
  await using plane = await startControlPlane({ controllers: ['deployment', 'replicaset'] })
  await plane.client.create(Deployment, deploymentOf('web', 'v1', spec))
  await tell(plane)
}

const get = (plane: ControlPlane): Promise<Deployment> => plane.client.get(Deployment, inDefault('web'))
const progressing = async (plane: ControlPlane): Promise<string | undefined> => (await get(plane)).status.conditions?.find(({ type }) => type === 'Progressing')?.reason
const images = async (plane: ControlPlane): Promise<string[]> => (await plane.client.list(Pod)).items.filter(({ metadata }) => metadata.deletionTimestamp === undefined).map(imageOf).toSorted()
const sizes = async (plane: ControlPlane): Promise<Record<string, number>> => {
  const { items } = await plane.client.list(ReplicaSet)
  return Object.fromEntries(items.map((set) => [set.spec.template.spec.containers[0]?.image ?? '', set.spec.replicas]))
}

test('a roll-out step by step', () =>
  story({}, async (plane) => {
    await settle(plane)
    await setImage(plane, 'web', 'v2')
    await settle(plane)
    assertTranscript(import.meta.dirname, 'roll-out', moments(plane.transcript.lines, ['Deployment', 'ReplicaSet']))
  }))

test('a roll-out never exceeds the surge nor falls below what must be available', () =>
  story({ replicas: 10, strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } } }, async (plane) => {
    await settle(plane)
    await setImage(plane, 'web', 'v2')
    for (let pass = 0; pass < 60; pass += 1) {
      await plane.clock.advance(100)
      const { items } = await plane.client.list(Pod)
      const alive = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      assert.ok(alive.length <= 13, `${alive.length} pods`)
      assert.ok(alive.filter(isPodReady).length >= 8, `${alive.filter(isPodReady).length} ready pods`)
      if ((await obey(plane)) === 0) break
    }
    assert.deepEqual(await images(plane), Array(10).fill('v2'))
    assert.equal(await progressing(plane), 'NewReplicaSetAvailable')
    const { items: events } = await plane.client.list(Event)
    assert.ok(events.some(({ reason, message }) => reason === 'ScalingReplicaSet' && /^Scaled up replica set web-\w+ from 0 to 3$/.test(message ?? '')))
  }))

test('a broken image stops the roll-out with the old pods alive, times out, and undo brings the old template back', () =>
  story({ progressDeadlineSeconds: 60 }, async (plane) => {
    const healthy = (pod: Pod): boolean => imageOf(pod) !== 'broken'
    await settle(plane, healthy)
    await setImage(plane, 'web', 'broken')
    await settle(plane, healthy)
    assert.deepEqual(await images(plane), ['broken', 'v1', 'v1', 'v1'])
    await plane.clock.advance(62_000)
    assert.equal(await progressing(plane), 'ProgressDeadlineExceeded')
    await setImage(plane, 'web', 'v1')
    await settle(plane, healthy)
    assert.deepEqual(await images(plane), ['v1', 'v1', 'v1'])
    assert.equal(await progressing(plane), 'NewReplicaSetAvailable')
    const deployment = await get(plane)
    assert.equal(deployment.metadata.annotations?.['deployment.kubernetes.io/revision'], '3')
    const { items } = await plane.client.list(ReplicaSet)
    assert.deepEqual(items.map(({ metadata }) => metadata.annotations?.['deployment.kubernetes.io/revision-history'] ?? 'none').toSorted(), ['1', 'none'])
  }))

test('Recreate waits until the last old pod is gone', () =>
  story({ strategy: { type: 'Recreate' } }, async (plane) => {
    await settle(plane)
    await setImage(plane, 'web', 'v2')
    for (let pass = 0; pass < 60; pass += 1) {
      await plane.clock.advance(100)
      const all = (await plane.client.list(Pod)).items.map(imageOf)
      assert.ok(new Set(all).size <= 1, `old and new pods together: ${all.join()}`)
      if ((await obey(plane)) === 0 && pass > 10) break
    }
    assert.deepEqual(await images(plane), ['v2', 'v2', 'v2'])
  }))

test('paused: changes of the template wait, scaling works; resumed: the roll-out goes on', () =>
  story({}, async (plane) => {
    await settle(plane)
    await plane.client.patch(Deployment, inDefault('web'), { spec: { paused: true } }, { type: 'merge' })
    await setImage(plane, 'web', 'v2')
    await plane.client.patch(Deployment, inDefault('web'), { spec: { replicas: 4 } }, { type: 'merge' })
    await settle(plane)
    assert.deepEqual(await images(plane), ['v1', 'v1', 'v1', 'v1'])
    assert.equal(await progressing(plane), 'DeploymentPaused')
    await plane.client.patch(Deployment, inDefault('web'), { spec: { paused: false } }, { type: 'merge' })
    await settle(plane)
    assert.deepEqual(await images(plane), ['v2', 'v2', 'v2', 'v2'])
  }))

test('scaling in the middle of a roll-out is spread in proportion', () =>
  story({ replicas: 10, strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } } }, async (plane) => {
    const healthy = (pod: Pod): boolean => imageOf(pod) !== 'v2'
    await settle(plane, healthy)
    await setImage(plane, 'web', 'v2')
    await settle(plane, healthy)
    assert.deepEqual(await sizes(plane), { v1: 8, v2: 5 })
    await plane.client.patch(Deployment, inDefault('web'), { spec: { replicas: 15 } }, { type: 'merge' })
    await settle(plane, healthy)
    // The documentation's own example: of five more, three go to the larger and two to the smaller set.
    assert.deepEqual(await sizes(plane), { v1: 11, v2: 7 })
  }))

test('old empty sets beyond the history limit are deleted, the oldest first', () =>
  story({ revisionHistoryLimit: 1 }, async (plane) => {
    await settle(plane)
    for (const image of ['v2', 'v3', 'v4']) {
      await setImage(plane, 'web', image)
      await settle(plane)
    }
    assert.deepEqual(await sizes(plane), { v3: 0, v4: 3 })
  }))
