/** Images as the Engine API tells of them: `ImageSummary`, `ImageInspect` and `ImageManifestSummary`. */
import { writeDescriptor } from '#oci/descriptor.ts'
import { writePlatform } from '#oci/platform.ts'
import type { ContainerDefaults, Image, ManifestSummary } from '../contract/images.ts'
import type { Snapshots } from '../contract/snapshots.ts'
import type { EngineBackend } from './backend.ts'
import { graphDriverJson } from './container-json.ts'
import { shaped } from './version-shape.ts'

/** Seconds since 1970; 0 for what is no time. */
export function seconds(rfc3339: string): number {
  const ms = Date.parse(rfc3339)
  return Number.isNaN(ms) ? 0 : Math.floor(ms / 1000)
}

export function imageSummaryJson(image: Image, minorVersion: number, use: { readonly containers?: number; readonly sharedBytes?: number } = {}): object {
  const dangling = image.repoTags.length === 0 && image.repoDigests.length === 0
  // Old clients print `<none>` from these words, new ones from empty lists.
  const none = dangling && minorVersion < 43
  return shaped('imageSummary', {
    Containers: use.containers ?? -1,
    Created: seconds(image.createdAt),
    Id: image.id,
    Labels: image.config.config?.Labels ?? null,
    ParentId: image.parentId ?? '',
    // Null until 1.42 where there are none.
    RepoDigests: none ? ['<none>@<none>'] : image.repoDigests.length === 0 && minorVersion < 43 ? null : image.repoDigests,
    RepoTags: none ? ['<none>:<none>'] : image.repoTags,
    SharedSize: use.sharedBytes ?? -1,
    Size: image.sizeBytes,
    VirtualSize: image.sizeBytes,
  }, minorVersion)
}

function configJson(defaults: ContainerDefaults): object {
  return {
    Hostname: defaults.Hostname ?? '', Domainname: defaults.Domainname ?? '', User: defaults.User ?? '',
    AttachStdin: defaults.AttachStdin ?? false, AttachStdout: defaults.AttachStdout ?? false, AttachStderr: defaults.AttachStderr ?? false,
    ...(defaults.ExposedPorts === undefined ? {} : { ExposedPorts: defaults.ExposedPorts }),
    Tty: defaults.Tty ?? false, OpenStdin: defaults.OpenStdin ?? false, StdinOnce: defaults.StdinOnce ?? false, Env: defaults.Env ?? null, Cmd: defaults.Cmd ?? null,
    ...(defaults.Healthcheck === undefined ? {} : { Healthcheck: defaults.Healthcheck }),
    Image: defaults.Image ?? '', Volumes: defaults.Volumes ?? null, WorkingDir: defaults.WorkingDir ?? '', Entrypoint: defaults.Entrypoint ?? null, OnBuild: defaults.OnBuild ?? null, Labels: defaults.Labels ?? null,
    ...(defaults.StopSignal === undefined ? {} : { StopSignal: defaults.StopSignal }),
    ...(defaults.Shell === undefined ? {} : { Shell: defaults.Shell }),
  }
}

export async function imageInspectJson(image: Image, { minorVersion, snapshots }: { readonly minorVersion: number; readonly snapshots: Pick<Snapshots, 'folders'> }): Promise<object> {
  const { config, sizeBytes } = image
  return {
    Id: image.id,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Parent: image.parentId ?? '',
    Comment: config.comment ?? config.history?.at(-1)?.comment ?? '',
    // Since 1.44 an image that does not say when it was made has no such field.
    ...(config.created === undefined && minorVersion >= 44 ? {} : { Created: image.createdAt }),
    Container: '',
    ContainerConfig: configJson({}),
    DockerVersion: '',
    Author: config.author ?? '',
    Config: configJson(config.config ?? {}),
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: sizeBytes,
    VirtualSize: sizeBytes,
    GraphDriver: image.topLayer === undefined ? { Data: null, Name: 'overlay2' } : graphDriverJson(await snapshots.folders(image.topLayer)),
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: image.lastTaggedAtMs === undefined ? '0001-01-01T00:00:00Z' : new Date(image.lastTaggedAtMs).toISOString() },
  }
}

/** What a name stands for and the manifests of it. */
export async function manifestsJson({ images, containers }: Pick<EngineBackend, 'images' | 'containers'>, nameOrId: string): Promise<object> {
  const { target, manifests } = await images.manifests(nameOrId)
  const users = containers.list({ namespace: 'all' })
  const usersOf = (id: string | undefined): readonly string[] => users.flatMap((container) => (container.imageId === id ? [container.id] : []))
  return { Descriptor: writeDescriptor(target), Manifests: manifests.map((manifest) => manifestJson(manifest, usersOf)) }
}

function manifestJson({ descriptor, isAvailable, contentBytes, kind }: ManifestSummary, usersOf: (id: string | undefined) => readonly string[]): object {
  const unpackedBytes = kind.is === 'image' ? kind.unpackedBytes : 0
  return {
    ID: descriptor.digest,
    Descriptor: writeDescriptor(descriptor),
    Available: isAvailable,
    Size: { Content: contentBytes, Total: contentBytes + unpackedBytes },
    Kind: kind.is,
    ...(kind.is === 'image' ? { ImageData: { Platform: writePlatform(kind.platform), Containers: usersOf(kind.id), Size: { Unpacked: unpackedBytes } } } : {}),
    ...(kind.is === 'attestation' ? { AttestationData: { For: kind.about } } : {}),
  }
}
