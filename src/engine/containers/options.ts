/** What the containers room needs: its neighbours' contracts, the ports, and where its files are. */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { Poller } from '#linux/contract/poller.ts'
import type { Random } from '#base/random.ts'
import type { EventPublisher } from '../contract/events.ts'
import type { ImageResolver } from '../contract/images.ts'
import type { Networks } from '../contract/networks.ts'
import type { Runtime } from '../contract/runtime.ts'
import type { SnapshotArchives, SnapshotMounter, SnapshotReader } from '../contract/snapshots.ts'
import type { VolumeCatalog, VolumeMounts } from '../contract/volumes.ts'
import type { Remap } from '../userns/remap.ts'
import type { HostFacts } from './host.ts'

export interface ContainersOptions {
  readonly runtime: Runtime
  readonly images: ImageResolver
  readonly snapshots: SnapshotMounter & SnapshotReader & SnapshotArchives
  readonly networks: Networks
  readonly volumes: VolumeCatalog & VolumeMounts
  readonly mounts: Mounts
  /** For logs that go to journald or syslog. */
  readonly sockets: Pick<Poller, 'sendDatagram'>
  readonly events: EventPublisher
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly host: HostFacts
  /** Holds `containers/<id>/`; survives a restart of the machine. */
  readonly stateDir: string
  /** Holds `r/<id>` (mounted roots); may be lost with the machine. */
  readonly runDir: string
  readonly cgroupRoot: string
  readonly initPath?: string | undefined
  /** Absent: containers have the machine's ids. */
  readonly remap?: Remap | undefined
  /** Runs the host's `ps` and answers what it prints. */
  readonly ps: (args: readonly string[]) => Promise<string>
}
