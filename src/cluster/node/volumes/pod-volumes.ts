/**
 * The volumes of one pod on this node: made before its containers, shown to them as mounts, kept up to date while objects and
 * tokens change, taken down at its end. Folder layout below the pod's folder: `volumes/NAME`, `hosts`, `containers/NAME/N`.
 */
import type { Timer } from '#base/clock.ts'
import { unreachable } from '#base/assert.ts'
import { Fault } from '#base/fault.ts'
import { KeyedSerial } from '#base/task.ts'
import { wholeUnits } from '#schema/quantity.ts'
import type { Container, EphemeralContainer } from '../../api/core/v1/container.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import { ServiceAccount } from '../../api/core/v1/service-account.ts'
import type { HostPathVolumeSource, Volume } from '../../api/core/v1/volume.ts'
import type { ContainerMount } from '../../contract/runtime.ts'
import type { Parts } from '../agent/parts.ts'
import { podFolder } from '../agent/parts.ts'
import { expand } from '../containers/env.ts'
import { hostsFile } from '../containers/config.ts'
import type { FileKind } from '../ports.ts'
import type { TokenRequest } from './payload.ts'
import { tokenRequests, volumePayload, volumeReferences } from './payload.ts'

interface Token {
  readonly text: string
  readonly refreshAtMs: number
}

export class PodVolumes {
  readonly #parts: Parts
  /** The newest object: labels and annotations may change. */
  readonly #pod: () => Pod
  readonly #signal: AbortSignal
  readonly #tokens = new Map<string, Token>()
  /** Writes of one volume do not overlap. */
  readonly #writes = new KeyedSerial<string>()
  #refreshTimer: Timer | undefined
  #ready = false

  constructor(parts: Parts, pod: () => Pod, signal: AbortSignal) {
    this.#parts = parts
    this.#pod = pod
    this.#signal = signal
  }

  get #folder(): string {
    return podFolder(this.#parts, this.#pod())
  }

  #path(name: string): string {
    return `${this.#folder}/volumes/${name}`
  }

  /** Idempotent. The fault's message is what the FailedMount event says. */
  async prepare(): Promise<void> {
    const pod = this.#pod()
    const volumes = pod.spec.volumes ?? []
    const { namespace, uid } = pod.metadata
    const references = volumes.flatMap((volume) => volumeReferences(volume).map((reference) => ({ ...reference, namespace })))
    await this.#parts.references.acquire(uid, references, this.#signal)
    await this.#parts.files.makeDirectory(`${this.#folder}/volumes`, { mode: 0o755 })
    for (const volume of volumes) {
      try {
        await this.#prepareVolume(volume)
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        throw new Fault('unavailable', `MountVolume.SetUp failed for volume "${volume.name}" : ${message}`, { cause: error })
      }
    }
    this.#ready = true
  }

  /** Brings files up to date after a change of the pod, of an object it names, or of a token's age. */
  async refresh(): Promise<void> {
    if (!this.#ready) return
    for (const volume of this.#pod().spec.volumes ?? []) {
      try {
        await this.#writePayload(volume)
      } catch (error) {
        // A mounted object that is deleted keeps its last files, as upstream does.
        this.#parts.log.debug({ err: error, volume: volume.name, pod: this.#pod().metadata.name }, 'a volume keeps its old contents')
      }
    }
  }

  async #prepareVolume(volume: Volume): Promise<void> {
    const { files } = this.#parts
    const gid = this.#pod().spec.securityContext?.fsGroup
    if (volume.emptyDir !== undefined) {
      const { medium, sizeLimit } = volume.emptyDir
      const options = { mode: 0o777, ...(gid === undefined ? {} : { gid }) }
      if (medium === 'Memory') await files.mountMemory(this.#path(volume.name), { ...options, ...(sizeLimit === undefined ? {} : { sizeBytes: Number(wholeUnits(sizeLimit)) }) })
      else await files.makeDirectory(this.#path(volume.name), options)
      return
    }
    if (volume.hostPath !== undefined) return this.#checkHostPath(volume.hostPath)
    if (!(await this.#writePayload(volume))) throw new Fault('unimplemented', `volumes of its kind (${Object.keys(volume).filter((key) => key !== 'name').join(', ')}) are not supported by this node`)
  }

  /** False when the volume has no files of this kind. */
  #writePayload(volume: Volume): Promise<boolean> {
    return this.#writes.run(volume.name, () => this.#writePayloadNow(volume))
  }

  async #writePayloadNow(volume: Volume): Promise<boolean> {
    await this.#fetchTokens(volume)
    const pod = this.#pod()
    const { references, files, node, allocatable } = this.#parts
    const { namespace } = pod.metadata
    const payload = volumePayload(volume, {
      pod,
      podIps: (pod.status.podIPs ?? []).map(({ ip }) => ip),
      hostIps: node.addresses,
      allocatable,
      configMap: (name) => references.configMap(namespace, name),
      secret: (name) => references.secret(namespace, name),
      token: (request) => this.#tokens.get(tokenKey(request))?.text ?? '',
    })
    if (payload === undefined) return false
    const gid = pod.spec.securityContext?.fsGroup
    await files.writeTree(this.#path(volume.name), payload, gid === undefined ? {} : { gid })
    return true
  }

  async #fetchTokens(volume: Volume): Promise<void> {
    const { clock, client } = this.#parts
    for (const request of tokenRequests(volume)) {
      const known = this.#tokens.get(tokenKey(request))
      if (known !== undefined && known.refreshAtMs > clock.nowMs()) continue
      const { metadata, spec } = this.#pod()
      const body = {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          audiences: request.audience === '' ? [] : [request.audience],
          expirationSeconds: request.expirationSeconds,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: metadata.name, uid: metadata.uid },
        },
      }
      const answer = await client.createSubresource(ServiceAccount, { namespace: metadata.namespace, name: spec.serviceAccountName ?? 'default' }, 'token', body, { signal: this.#signal })
      const { token, expirationTimestamp } = tokenStatus(answer)
      const nowMs = clock.nowMs()
      // Renewed when 80 % of its life is over, or after a day.
      const refreshAtMs = nowMs + Math.min(24 * 3_600_000, (Date.parse(expirationTimestamp) - nowMs) * 0.8)
      this.#tokens.set(tokenKey(request), { text: token, refreshAtMs })
    }
    this.#scheduleRefresh()
  }

  #scheduleRefresh(): void {
    if (this.#tokens.size === 0) return
    const { clock, log } = this.#parts
    const dueMs = Math.min(...[...this.#tokens.values()].map(({ refreshAtMs }) => refreshAtMs))
    this.#refreshTimer?.cancel()
    const delayMs = Math.max(10_000, dueMs - clock.nowMs())
    this.#refreshTimer = clock.after(delayMs, () => void this.refresh().catch((error: unknown) => log.warn({ err: error }, 'renewing a token failed')), { background: true })
  }

  async #checkHostPath({ path, type }: HostPathVolumeSource): Promise<void> {
    const { files } = this.#parts
    const kind = await files.kindOf(path)
    if (type === 'DirectoryOrCreate' && kind === undefined) return files.makeDirectory(path, { mode: 0o755 })
    if (type === 'FileOrCreate' && kind === undefined) return files.writeFile(path, '', 0o644)
    const wanted = wantedKind(type)
    if (wanted !== undefined && kind !== wanted) throw new Fault('conflict', `hostPath type check failed: ${path} is not a ${wanted}`)
    if (kind === undefined) await files.makeDirectory(path, { mode: 0o755 })
  }

  /** What a container sees: its volumes, `/etc/hosts`, its termination log. `env` resolves `subPathExpr`. */
  async mountsFor(container: Container | EphemeralContainer, options: { readonly attempt: number; readonly ips: readonly string[]; readonly env: readonly { readonly name: string; readonly value: string }[] }): Promise<ContainerMount[]> {
    const { files } = this.#parts
    const pod = this.#pod()
    const mounts: ContainerMount[] = []
    for (const mount of container.volumeMounts ?? []) {
      const volume = (pod.spec.volumes ?? []).find(({ name }) => name === mount.name)
      if (volume === undefined) throw new Fault('invalidArgument', `container ${container.name} mounts volume ${mount.name}, which the pod does not have`)
      const root = volume.hostPath?.path ?? this.#path(volume.name)
      const sub = mount.subPathExpr !== undefined && mount.subPathExpr !== '' ? expand(mount.subPathExpr, (name) => options.env.find((each) => each.name === name)?.value) : (mount.subPath ?? '')
      mounts.push({
        hostPath: sub === '' ? root : await files.subPath(root, sub),
        containerPath: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
        readOnly: mount.readOnly === true || isReadOnlyKind(volume),
        propagation: mount.mountPropagation === 'Bidirectional' ? 'bidirectional' : mount.mountPropagation === 'HostToContainer' ? 'hostToContainer' : 'private',
      })
    }
    if (pod.spec.hostNetwork !== true && !mounts.some(({ containerPath }) => containerPath === '/etc/hosts')) {
      const path = `${this.#folder}/hosts`
      await files.writeFile(path, hostsFile(pod, options.ips, this.#parts.clusterDns?.domain ?? 'cluster.local'))
      mounts.push({ hostPath: path, containerPath: '/etc/hosts', readOnly: false, propagation: 'private' })
    }
    const messagePath = this.terminationMessagePath(container.name, options.attempt)
    await files.writeFile(messagePath, '', 0o666)
    mounts.push({ hostPath: messagePath, containerPath: container.terminationMessagePath, readOnly: false, propagation: 'private' })
    return mounts
  }

  terminationMessagePath(container: string, attempt: number): string {
    return `${this.#folder}/containers/${container}/${attempt}`
  }

  async takeDown(): Promise<void> {
    this.close()
    await this.#parts.files.unmountBelow(`${this.#folder}/volumes`)
  }

  async dispose(): Promise<void> {
    this.close()
    await this.#parts.files.removeTree(this.#folder)
  }

  /** Stops following; files stay. */
  close(): void {
    this.#ready = false
    this.#refreshTimer?.cancel()
  }
}

function tokenKey({ audience, expirationSeconds }: TokenRequest): string {
  return `${audience}/${expirationSeconds}`
}

/** Upstream mounts these read-only whatever the pod says. */
function isReadOnlyKind(volume: Volume): boolean {
  return volume.configMap !== undefined || volume.secret !== undefined || volume.downwardAPI !== undefined || volume.projected !== undefined
}

function wantedKind(type: HostPathVolumeSource['type']): FileKind | undefined {
  switch (type) {
    case '':
      return undefined
    case 'Directory':
    case 'DirectoryOrCreate':
      return 'directory'
    case 'File':
    case 'FileOrCreate':
      return 'file'
    case 'Socket':
      return 'socket'
    case 'CharDevice':
      return 'charDevice'
    case 'BlockDevice':
      return 'blockDevice'
    default:
      return unreachable(type)
  }
}

function tokenStatus(answer: unknown): { token: string; expirationTimestamp: string } {
  if (typeof answer === 'object' && answer !== null && 'status' in answer) {
    const { status } = answer
    if (typeof status === 'object' && status !== null && 'token' in status && 'expirationTimestamp' in status) {
      const { token, expirationTimestamp } = status
      if (typeof token === 'string' && typeof expirationTimestamp === 'string') return { token, expirationTimestamp }
    }
  }
  throw new Fault('internal', 'the API server answered a TokenRequest without status.token and status.expirationTimestamp')
}
