/** `docker commit`: what a container changed becomes a layer on its image. */
import type { Clock } from '#base/clock.ts'
import { rfc3339Nano } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { familiarReference, parseReference } from '#oci/reference.ts'
import type { Containers, Container } from '../contract/containers.ts'
import type { EventPublisher } from '../contract/events.ts'
import type { ContainerDefaults, ImageBuilderStore, ImageConfig, ImageResolver } from '../contract/images.ts'
import type { SnapshotCommitter } from '../contract/snapshots.ts'
import type { ContainerCommitter } from '../http/backend.ts'
import type { FormerContainer } from '#oci/image-config.ts'
import { changedDefaults, mergedDefaults } from '../http/changes.ts'
import { extensionOf } from '../http/container-json.ts'

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

  async function paused<T>({ id, state }: Container, wanted: boolean, task: () => Promise<T>): Promise<T> {
    const isPaused = wanted && state.status === 'running' && (await pauseIfRunning(id))
    try {
      return await task()
    } finally {
      if (isPaused) await ignoringConflict(containers.unpause(id))
    }
  }

  async function imageOf(container: Container, { name, comment, author, changes, config: given }: Omit<Parameters<ContainerCommitter['commit']>[0], 'container' | 'pause'>): Promise<{ readonly imageId: string }> {
    const base = await images.resolve(container.imageId)
    const layer = await snapshots.diff(container.id)
    const own = defaultsOf(container, base.config.config ?? {})
    const created = rfc3339Nano(clock.nowNs())
    const config: ImageConfig = {
      ...base.config,
      created,
      ...(author === '' ? {} : { author }),
      config: mergedDefaults(changedDefaults(given ?? own, changes), own),
      rootfs: { type: 'layers', diff_ids: [...base.config.rootfs.diff_ids, layer.diffId] },
      history: [...(base.config.history ?? []), { created, created_by: container.effective.args.join(' '), ...(comment === '' ? {} : { comment }), ...(author === '' ? {} : { author }) }],
    }
    const image = await images.put(config, { ...(name === undefined ? {} : { name }), parentId: base.id })
    const { effective, spec } = container
    const imageRef = name === undefined ? '' : familiarReference(parseReference(name))
    if (imageRef !== '') events.publish({ type: 'image', action: 'tag', actor: { id: image.id, attributes: { ...image.config.config?.Labels, name: imageRef } } })
    events.publish({ type: 'container', action: 'commit', actor: { id: container.id, attributes: { ...effective.labels, image: spec.image, name: container.name, comment, imageID: image.id, imageRef } } })
    return { imageId: image.id }
  }

  return {
    async commit({ container: ref, pause, ...wanted }) {
      const container = await containers.inspect(ref)
      return paused(container, pause, () => imageOf(container, wanted))
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

/** What the container was run with becomes the image's defaults; triggers for builds on the old image do not. */
function defaultsOf(container: Container, { OnBuild: _, ...defaults }: ContainerDefaults): ContainerDefaults {
  const { effective, spec } = container
  return {
    ...defaults,
    ...formerContainerOf(container),
    Env: effective.env,
    Cmd: effective.command,
    Entrypoint: effective.entrypoint,
    User: effective.user,
    WorkingDir: effective.workingDir,
    Labels: effective.labels,
    ...(effective.exposedPorts.length === 0 ? {} : { ExposedPorts: Object.fromEntries(effective.exposedPorts.map((port) => [port, {}])) }),
    ...(spec.healthcheck === undefined ? {} : { Healthcheck: spec.healthcheck }),
    ...(spec.stopSignal ? { StopSignal: spec.stopSignal } : {}),
  }
}

function formerContainerOf(container: Container): FormerContainer {
  const { config } = extensionOf(container)
  const flag = (name: string): boolean => config[name] === true
  return {
    Hostname: container.effective.hostname,
    Domainname: container.spec.domainname ?? '',
    AttachStdin: flag('AttachStdin'),
    AttachStdout: flag('AttachStdout'),
    AttachStderr: flag('AttachStderr'),
    Tty: container.effective.tty,
    OpenStdin: flag('OpenStdin'),
    StdinOnce: flag('StdinOnce'),
    Image: container.spec.image,
  }
}
