/** The node's identity in the cluster: client of the API server, and server of the kubelet API. */
import type { CertificateRequest } from '#cluster/apiserver/pki/authority.ts'
import { advertisedAddress } from './addresses.ts'
import type { Config } from './config.ts'

/** Name of the pair in the PKI folder: `node.crt`, `node.key`. */
export const nodeCertificateName = 'node'

export function nodeCertificateRequest(config: Config): CertificateRequest {
  return {
    commonName: `system:node:${config.nodeName}`,
    organizations: ['system:nodes'],
    usage: 'both',
    subjectAltNames: [config.nodeName, advertisedAddress(config), '127.0.0.1', 'localhost'],
    validDays: 365,
  }
}
