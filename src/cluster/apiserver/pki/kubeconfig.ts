/** A kubeconfig with an embedded client certificate (https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/), mode 0600. */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { KeyPair } from './authority.ts'
import { writeFileAtomically } from '#base/files.ts'

export interface KubeconfigOptions {
  /** E.g. `https://127.0.0.1:6443`. */
  readonly server: string
  /** PEM of the authority. */
  readonly authority: string
  readonly client: KeyPair
  /** Name of cluster, context and user. */
  readonly name?: string
}

/** JSON is YAML; quoting is then nobody's problem. */
export function kubeconfig({ server, authority, client, name = 'berth' }: KubeconfigOptions): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'certificate-authority-data': base64(authority) } }],
    users: [{ name, user: { 'client-certificate-data': base64(client.certificate), 'client-key-data': base64(client.key) } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  }
  return `${JSON.stringify(config, undefined, 2)}\n`
}

export async function writeKubeconfig(path: string, options: KubeconfigOptions): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFileAtomically(path, kubeconfig(options))
}
