/**
 * A registry over a storage: answers HTTP and says what it needs kept. It holds no state of its own, so that any number of them
 * may serve one storage.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { Random } from '#base/random.ts'
import type { Sendfile } from '#linux/contract/sendfile.ts'
import type { Digest } from '#oci/digest.ts'
import { uuid4 } from '#base/random.ts'
import { RegistryAuth } from './auth/registry-auth.ts'
import type { Rights } from './auth/rights.ts'
import type { TokenServer } from './auth/token-server.ts'
import { TaskGroup } from '#base/task.ts'
import { Collector } from './collect/collector.ts'
import type { Collected } from './collect/collector.ts'
import type { RetentionRule } from './collect/retention.ts'
import type { Call, RegistryEvent } from './http/call.ts'
import { Handler } from './http/handler.ts'
import { Metrics } from './http/metrics.ts'
import { Manifests } from './manifests.ts'
import type { MirrorRule } from './mirror/mirror.ts'
import { Mirror } from './mirror/mirror.ts'
import type { EventSource } from './notify/envelope.ts'
import type { Webhook } from './notify/notifier.ts'
import { Notifier } from './notify/notifier.ts'
import type { QuotaLimits } from './quotas.ts'
import { Quotas } from './quotas.ts'
import { Repositories } from './repositories.ts'
import type { Records, RegistryStorage } from './storage/contract.ts'
import { Uploads } from './uploads.ts'

export interface RegistryOptions {
  /** Ended by who opened it. */
  readonly storage: RegistryStorage
  /** Text of an htpasswd file (bcrypt). Neither this nor `engine`: everybody may do everything. */
  readonly htpasswd?: string
  /** Default true. */
  readonly anonymousPull?: boolean
  /** The credential with which the engine of this machine pushes: its mounts copy nothing. */
  readonly engine?: { readonly username: string; readonly password: string }
  /** Manifests may point to what is not here, such as the platforms of an index that were left behind. Default false. */
  readonly sparse?: boolean
  readonly collect?: CollectOptions
  /** What is granted to whom, instead of the plain rule. */
  readonly rights?: Rights
  /** Another server's tokens are good here, and clients are sent there for them. */
  readonly tokenServer?: TokenServer
  /** Nothing is pushed or deleted. */
  readonly readOnly?: boolean
  readonly quota?: QuotaLimits
  readonly mirrors?: readonly MirrorRule[]
  readonly webhooks?: readonly Webhook[]
  /** Where a line of each request goes. Default: nowhere. */
  readonly accessLog?: Logger
  /** Names this registry in events. */
  readonly instance?: string
  /** How blobs of the file system go out over plain HTTP; by default through memory, as over TLS. */
  readonly sendfile?: Sendfile
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface CollectOptions {
  /** What nobody has used for so long may be collected, milliseconds; a day by default. Longer than any push lasts. */
  readonly graceMs?: number
  /** How often the collector runs, milliseconds; never by itself by default. */
  readonly everyMs?: number
  readonly retention?: readonly RetentionRule[]
  /** Collects blobs instead of the registry, where others need them too; answers the bytes freed. */
  readonly blobs?: () => Promise<number>
}

export interface Registry extends AsyncDisposable {
  /** For `http.createServer(registry.handle)`. Never rejects. */
  readonly handle: (req: IncomingMessage, res: ServerResponse) => Promise<void>
  /** Every digest that a repository links: roots for the collector of blobs. */
  roots(): AsyncGenerator<Digest>
  /** Removes what is no longer needed and old (`collect/collector.ts`). */
  collect(): Promise<Collected>
}

const dayMs = 24 * 3_600_000

export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const { storage } = options
  const { graceMs = dayMs, everyMs, retention = [], blobs } = options.collect ?? {}
  const repositories = new Repositories({ records: storage.records, clock: options.clock, renewAfterMs: graceMs / 4 })
  const auth = new RegistryAuth({ ...options, tokenKey: await tokenKey(storage.records, options.random) })
  const { clock, logger } = options
  const { content, records } = storage
  const metrics = new Metrics()
  const manifests = new Manifests({ content, repositories, sparse: options.sparse === true })
  const uploads = new Uploads(options)
  const quotas = new Quotas({ limits: options.quota ?? {}, repositories, content, clock })
  const mirror = new Mirror({ rules: options.mirrors ?? [], storage, repositories, manifests, metrics, clock, logger })
  const notifier = new Notifier({ webhooks: options.webhooks ?? [], clock, logger, metrics })
  const collector = new Collector({ storage, repositories, uploads, graceMs, retention, clock, logger, ...(blobs === undefined ? {} : { collectBlobs: blobs }) })
  const collect = async (): Promise<Collected> => {
    const collected = await collector.collect()
    for (const kind of ['tags', 'manifests', 'links'] as const) metrics.add('registry_collected_total', { kind }, collected[kind])
    metrics.add('registry_collected_bytes_total', {}, collected.freedBytes)
    return collected
  }
  const happened = (event: RegistryEvent, call: Call): void => {
    if (!notifier.isIdle) notifier.notify(event, sourceOf(call, options))
  }
  const rooms = { auth, content, manifests, repositories, uploads, quotas, mirror, clock, isReadOnly: options.readOnly === true, happened, ...(options.sendfile === undefined ? {} : { sendfile: options.sendfile }) }
  const handler = new Handler(rooms, { logger, records, collect, written: () => collector.touch(), observe: { metrics, clock, accessLog: options.accessLog } })
  const tasks = new TaskGroup((error) => options.logger.error({ error }, 'a task of the registry failed'))
  if (!notifier.isIdle) tasks.spawn((signal) => notifier.keepSending(signal))
  if (everyMs !== undefined) tasks.spawn((signal) => collector.keepCollecting(everyMs, signal))
  return {
    handle: (req, res) => handler.handle(req, res),
    roots: () => repositories.roots(),
    collect,
    [Symbol.asyncDispose]: async () => {
      await tasks.close()
      mirror[Symbol.dispose]()
    },
  }
}

function sourceOf({ req, caller }: Call, { random, clock, instance = 'berth' }: RegistryOptions): EventSource {
  const { socket, headers } = req
  return {
    id: uuid4(random), timeNs: clock.nowNs(), user: caller.user, instance,
    remote: `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`, host: headers.host ?? '', method: req.method ?? '', userAgent: headers['user-agent'] ?? '',
  }
}

/** The key that signs tokens, made once and kept in the storage: every registry over it signs alike. */
async function tokenKey(records: Records, random: Random): Promise<Uint8Array> {
  const known = await records.read('token.key')
  if (known !== undefined) return known
  await records.create('token.key', Buffer.from(random.bytes(32)).toString('hex'))
  return await tokenKey(records, random)
}
