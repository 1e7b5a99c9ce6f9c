/** `docker commit`: what a container changed becomes a layer on its image. */
import type { Clock } from '#base/clock.ts'
import { rfc3339Nano } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Containers, Container } from '../contract/containers.ts'
import type { EventPublisher } from '../contract/events.ts'
import type { ContainerDefaults, ImageBuilderStore, ImageConfig, ImageResolver } from '../contract/images.ts'
import type { SnapshotCommitter } from '../contract/snapshots.ts'
import type { ContainerCommitter } from '../http/backend.ts'
import { changedDefaults } from '../http/changes.ts'

export interface CommitterOptions {
  readonly containers: Containers
  readonly images: ImageResolver & ImageBuilderStore
  readonly snapshots: Pick<SnapshotCommitter, 'diff'>
  readonly events: EventPublisher
  readonly clock: Clock
}

export function createCommitter({ containers, images, snapshots, events, clock }: CommitterOptions): ContainerCommitter {
  /** False: it ended meanwhile, and changes nothing any more. */
  const pauseIfRunning = (id: string): Promise<boolean> => ignoringConflict(containers.pause(id))

  async function layerOf(container: Container, pause: boolean): ReturnType<SnapshotCommitter['diff']> {
    const paused = pause && container.state.status === 'running' && (await pauseIfRunning(container.id))
    try {
      return await snapshots.diff(container.id)
    } finally {
      if (paused) await ignoringConflict(containers.unpause(container.id))
    }
  }

  return {
    async commit({ container: ref, name, comment, author, pause, changes }) {
      const container = await containers.inspect(ref)
      const base = await images.resolve(container.imageId)
      const layer = await layerOf(container, pause)
      const created = rfc3339Nano(clock.nowNs())
      const config: ImageConfig = {
        ...base.config,
        created,
        ...(author === '' ? {} : { author }),
        config: changedDefaults(defaultsOf(container, base.config.config ?? {}), changes),
        rootfs: { type: 'layers', diff_ids: [...base.config.rootfs.diff_ids, layer.diffId] },
        history: [...(base.config.history ?? []), { created, created_by: container.effective.args.join(' '), ...(comment === '' ? {} : { comment }), ...(author === '' ? {} : { author }) }],
      }
      const image = await images.put(config, { ...(name === undefined ? {} : { name }), parentId: base.id })
      events.publish({ type: 'container', action: 'commit', actor: { id: container.id, attributes: { comment, imageID: image.id, ...(name === undefined ? {} : { imageRef: name }) } } })
      return { imageId: image.id }
    },
  }
}

/** False: the container was not in the state for it any more. */
async function ignoringConflict(change: Promise<void>): Promise<boolean> {
  try {
    await change
    return true
  } catch (error) {
    if (isFault(error, 'conflict')) return false
    throw error
  }
}

/** What the container was run with becomes the image's defaults. */
function defaultsOf({ effective, spec }: Container, defaults: ContainerDefaults): ContainerDefaults {
  return {
    ...defaults,
    Env: effective.env,
    Cmd: effective.command,
    Entrypoint: effective.entrypoint,
    User: effective.user,
    WorkingDir: effective.workingDir,
    Labels: effective.labels,
    ...(effective.exposedPorts.length === 0 ? {} : { ExposedPorts: Object.fromEntries(effective.exposedPorts.map((port) => [port, {}])) }),
    ...(spec.stopSignal ? { StopSignal: spec.stopSignal } : {}),
  }
}
