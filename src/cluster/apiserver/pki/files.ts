/**
 * The cluster's keys on disk: made at the first start, renewed at a start that finds them near their end. The layout is kubeadm's
 * in small: ca, apiserver (serving), apiserver-kubelet-client, admin, sa (tokens), one folder; everything 0600 in a 0700 folder.
 */
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { generateKeyPairSync } from 'node:crypto'
import type { Clock } from '#base/clock.ts'
import { readIfThere, writeFileAtomically } from '#base/files.ts'
import type { Random } from '#base/random.ts'
import { createAuthority, issue, stillGood, type CertificateRequest, type KeyPair } from './authority.ts'

export interface PkiOptions {
  readonly folder: string
  /** DNS names and addresses that clients use for the API server, beyond the cluster's own. */
  readonly serverNames: readonly string[]
  /** Address of the `kubernetes` service, e.g. `10.43.0.1`. */
  readonly serviceAddress: string
  readonly clusterDomain?: string
  readonly clock: Clock
  readonly random: Random
}

export interface Pki {
  readonly folder: string
  readonly authority: KeyPair
  /** The API server's serving certificate. */
  readonly server: KeyPair
  /** What the API server shows to kubelets. */
  readonly kubeletClient: KeyPair
  /** CN kubernetes-admin, O system:masters. */
  readonly admin: KeyPair
  /** P-256, PKCS #8 PEM: signs service account tokens. */
  readonly serviceAccountKey: string
  /** 32 bytes: encrypts Secrets at rest. */
  readonly encryptionKey: Buffer
  /** A certificate for somebody else, e.g. a node; kept in the folder under `name`, renewed as the others are. */
  certificate(name: string, request: CertificateRequest): Promise<KeyPair>
}

const yearDays = 365
const authorityDays = 10 * yearDays

async function readPair(folder: string, name: string): Promise<KeyPair | undefined> {
  const [certificate, key] = await Promise.all([readIfThere(join(folder, `${name}.crt`)), readIfThere(join(folder, `${name}.key`))])
  return certificate === undefined || key === undefined ? undefined : { certificate: certificate.toString(), key: key.toString() }
}

async function writePair(folder: string, name: string, pair: KeyPair): Promise<KeyPair> {
  await writeFileAtomically(join(folder, `${name}.key`), pair.key)
  await writeFileAtomically(join(folder, `${name}.crt`), pair.certificate)
  return pair
}

async function keep(folder: string, name: string, make: () => string | Buffer): Promise<Buffer> {
  const found = await readIfThere(join(folder, name))
  if (found !== undefined) return found
  const made = make()
  await writeFileAtomically(join(folder, name), made)
  return Buffer.from(made)
}

export async function openPki(options: PkiOptions): Promise<Pki> {
  const { folder, clusterDomain = 'cluster.local' } = options
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(folder, 0o700)
  const authority = (await readPair(folder, 'ca')) ?? (await writePair(folder, 'ca', await createAuthority('berth-ca', authorityDays, options)))
  const certificate = async (name: string, request: CertificateRequest): Promise<KeyPair> => {
    const found = await readPair(folder, name)
    if (found !== undefined && stillGood(found, authority, request, options.clock)) return found
    return writePair(folder, name, await issue(authority, request, options))
  }
  const own = ['localhost', '127.0.0.1', '::1', options.serviceAddress, 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc', `kubernetes.default.svc.${clusterDomain}`]
  const [server, kubeletClient, admin] = await Promise.all([
    certificate('apiserver', { commonName: 'kube-apiserver', usage: 'server', subjectAltNames: [...new Set([...own, ...options.serverNames])], validDays: yearDays }),
    certificate('apiserver-kubelet-client', { commonName: 'kube-apiserver-kubelet-client', organizations: ['system:masters'], usage: 'client', validDays: yearDays }),
    certificate('admin', { commonName: 'kubernetes-admin', organizations: ['system:masters'], usage: 'client', validDays: yearDays }),
  ])
  const serviceAccountKey = await keep(folder, 'sa.key', () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const encryptionKey = await keep(folder, 'encryption.key', () => options.random.bytes(32))
  return { folder, authority, server, kubeletClient, admin, serviceAccountKey: serviceAccountKey.toString(), encryptionKey, certificate }
}
