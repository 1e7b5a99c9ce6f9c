/** The API server by itself, in a process of its own: SQLite in the folder that is the argument. Prints one JSON line when it serves. */
import { join } from 'node:path'
import { systemClock as clock } from '../src/base/clock.ts'
import { silentLogger as log } from '../src/base/log.ts'
import { systemRandom as random } from '../src/base/random.ts'
import { Namespace } from '../src/cluster/api/core/v1/namespace.ts'
import { ServiceAccount } from '../src/cluster/api/core/v1/service-account.ts'
import { allKinds, groupOrder } from '../src/cluster/api/index.ts'
import { openPki } from '../src/cluster/apiserver/pki/files.ts'
import { startApiServer } from '../src/cluster/apiserver/server.ts'
import { openSqliteStore } from '../src/cluster/store/sqlite/store.ts'

const folder = process.argv[2] ?? ''
const pki = await openPki({ folder: join(folder, 'pki'), serverNames: [], serviceAddress: '10.43.0.1', clock, random })
const store = await openSqliteStore({ folder: join(folder, 'store'), clock })
const ranges = { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] } as const
const { addresses, client } = await startApiServer({ store, pki, kinds: allKinds, groupOrder, clock, random, log, ranges, listen: [{ host: '127.0.0.1', port: 0 }] })
await client.create(Namespace, { metadata: { name: 'default' } })
await client.create(ServiceAccount, { metadata: { name: 'default', namespace: 'default' } })
console.log(JSON.stringify({ port: addresses[0]?.port, authority: pki.authority.certificate, ...pki.admin }))
