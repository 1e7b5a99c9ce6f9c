/** What the engine is and has, as BuildKit's clients ask for it: its one worker, its version, its cache (`api/types/worker.proto`). */
import { ProtoWriter } from '#base/proto-wire.ts'
import type { BuildCacheEntry, EngineSystem } from '../http/backend.ts'
import { isMutable } from './cache-filter.ts'

/**
 * Capabilities that clients look at before they ask for something (`solver/pb/caps.go`, `frontend/gateway/pb/caps.go`).
 * LLB, images' facts by themselves and containers of a frontend's own are not among them.
 */
const llbCapabilities = [
  'source.image', 'source.image.resolvemode', 'source.local', 'source.local.unique', 'source.local.sessionid', 'source.local.includepatterns', 'source.local.followpaths', 'source.local.excludepatterns',
  'source.local.sharedkeyhint', 'source.git', 'source.git.keepgitdir', 'source.git.fullurl', 'source.git.subdir', 'source.http', 'source.http.checksum', 'exec.meta.base', 'exec.meta.network', 'exec.meta.proxyenv',
  'exec.meta.security', 'exec.meta.setsdefaultpath', 'exec.meta.ulimit', 'exec.mount.bind', 'exec.mount.bind.readwrite-nooutput', 'exec.mount.cache', 'exec.mount.cache.sharing', 'exec.mount.selector',
  'exec.mount.tmpfs', 'exec.mount.tmpfs.size', 'exec.mount.secret', 'exec.mount.ssh', 'exec.secretenv', 'file.base', 'constraints', 'platform', 'meta.ignorecache', 'meta.description', 'meta.exportcache',
  'exporter.sourcedateepoch', 'exporter.multiple', 'exporter.image.attestations', 'exporter.image.annotations', 'gc.freespacefilter',
]

const frontendCapabilities = [
  'solve.base', 'return', 'readfile', 'statfile', 'returnmap', 'importcaches', 'proto.refarray', 'reference.output', 'frontend.caps', 'gateway.solve.metadata', 'gateway.solve.evaluate', 'gateway.evaluate',
  'gateway.warnings',
]

export interface WorkerFacts {
  readonly system: Pick<EngineSystem, 'id' | 'hostname' | 'architecture' | 'engineVersion' | 'gitCommit'>
  /** The host as its containers reach it; undefined: they do not. */
  readonly gatewayIp: string | undefined
}

export function encodePong(facts: WorkerFacts): Buffer {
  const pong = new ProtoWriter()
  for (const [field, names] of [[1, frontendCapabilities], [2, llbCapabilities]] as const) {
    for (const name of names) {
      pong.message(field, (capability) => {
        capability.string(1, name)
        capability.varint(2, 1)
      })
    }
  }
  pong.bytes(3, encodeWorker(facts))
  return pong.finish()
}

export function encodeWorker({ system, gatewayIp }: WorkerFacts): Buffer {
  const labels: Record<string, string> = {
    'org.mobyproject.buildkit.worker.hostname': system.hostname,
    // Clients ask only such workers for archives, for several outputs and for caches of their own (docker's containerd image store).
    'org.mobyproject.buildkit.worker.snapshotter': 'overlayfs',
    ...(gatewayIp === undefined ? {} : { 'org.mobyproject.buildkit.worker.moby.host-gateway-ip': gatewayIp }),
  }
  const worker = new ProtoWriter()
  worker.string(1, system.id)
  for (const [name, value] of Object.entries(labels)) writeEntry(worker, 2, [name, value])
  worker.message(3, (platform) => {
    platform.string(1, system.architecture)
    platform.string(2, 'linux')
  })
  worker.bytes(5, encodeVersion(system))
  return worker.finish()
}

/** `BuildkitVersion`. */
export function encodeVersion({ engineVersion, gitCommit }: Pick<EngineSystem, 'engineVersion' | 'gitCommit'>): Buffer {
  const version = new ProtoWriter()
  version.string(1, 'berth')
  version.string(2, engineVersion)
  version.string(3, gitCommit)
  return version.finish()
}

/** `UsageRecord`. */
export function encodeUsage({ id, parentId, type, description, sizeBytes, createdAtNs, lastUsedAtNs, usageCount, inUse, shared }: BuildCacheEntry): Buffer {
  const record = new ProtoWriter()
  record.string(1, id)
  if (isMutable({ type })) record.varint(2, 1)
  if (inUse) record.varint(3, 1)
  record.varint(4, sizeBytes)
  writeTime(record, 6, createdAtNs)
  writeTime(record, 7, lastUsedAtNs)
  record.varint(8, usageCount)
  record.string(9, description)
  record.string(10, type)
  if (shared) record.varint(11, 1)
  if (parentId !== '') record.string(12, parentId)
  return record.finish()
}

/** One entry of a `map<string, string>` or `map<string, bytes>`. */
export function writeEntry(writer: ProtoWriter, field: number, [key, value]: readonly [string, string | Buffer]): void {
  writer.message(field, (entry) => {
    entry.string(1, key)
    entry.bytes(2, Buffer.from(value))
  })
}

/** `google.protobuf.Timestamp`. */
export function writeTime(writer: ProtoWriter, field: number, ns: bigint): void {
  writer.message(field, (time) => {
    time.varint(1, ns / 1_000_000_000n)
    time.varint(2, ns % 1_000_000_000n)
  })
}
