/**
 * What tells one Berth on a machine from another. Everything an instance shares with the rest of the machine (bridge
 * names, nft tables, cgroups, address ranges, ports) derives from `instance`: empty for the default root, six hex digits
 * of a hash of BERTH_ROOT otherwise (docs/ARCHITECTURE.md, "Instances").
 */
import { createHash } from 'node:crypto'
import { resolve } from 'node:path'

export interface Instance {
  /** '' for the default instance, else six hex digits. */
  readonly id: string
  /** Names cgroups, nft tables and processes: `berth` or `berth-1a2b3c`. */
  readonly name: string
  /** Starts the name of every network link, at most 9 characters: `berth` or `b1a2b3c`. */
  readonly linkPrefix: string
  readonly podCidr: string
  readonly clusterCidr: string
  readonly serviceCidr: string
  readonly bridgeCidr: string
  readonly apiPort: number
  readonly kubeletPort: number
  readonly registryPort: number
}

const defaultInstance: Instance = {
  id: '',
  name: 'berth',
  linkPrefix: 'berth',
  podCidr: '10.42.0.0/24',
  clusterCidr: '10.42.0.0/16',
  serviceCidr: '10.43.0.0/16',
  bridgeCidr: '172.29.0.0/16',
  apiPort: 6443,
  kubeletPort: 10250,
  registryPort: 5000,
}

/** The instance that lives in `root` (BERTH_ROOT), or the machine's default one. */
export function instanceOf(root: string | undefined): Instance {
  if (root === undefined) return defaultInstance
  const hash = createHash('sha256').update(resolve(root)).digest()
  const id = hash.toString('hex').slice(0, 6)
  // 80 pairs of /16 ranges between 10.64 and 10.223, and 2,000 groups of ports between 20000 and 29999.
  const octet = 64 + 2 * (hash.readUInt16BE(4) % 80)
  const port = 20_000 + 5 * (hash.readUInt16BE(6) % 2000)
  return {
    id,
    name: `berth-${id}`,
    linkPrefix: `b${id}`,
    podCidr: `10.${octet}.0.0/24`,
    clusterCidr: `10.${octet}.0.0/17`,
    serviceCidr: `10.${octet + 1}.0.0/16`,
    bridgeCidr: `10.${octet}.128.0/17`,
    apiPort: port,
    kubeletPort: port + 1,
    registryPort: port + 2,
  }
}
