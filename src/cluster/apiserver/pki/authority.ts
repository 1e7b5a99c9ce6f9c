/**
 * The cluster's certificate authority: ECDSA P-256, RFC 5280 through @peculiar/x509 (1.8 ms per certificate). Identities are
 * Kubernetes': CN is the user, each O a group (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates).
 */
import type * as X509 from '@peculiar/x509'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { Clock } from '#base/clock.ts'
import type { Random } from '#base/random.ts'

/** A certificate with its private key, both PEM. */
export interface KeyPair {
  readonly certificate: string
  /** PKCS #8. Never logged, files 0600. */
  readonly key: string
}

export interface CertificateRequest {
  readonly commonName: string
  readonly organizations?: readonly string[]
  readonly usage: 'server' | 'client' | 'both'
  /** DNS names and addresses; needed by servers. */
  readonly subjectAltNames?: readonly string[]
  readonly validDays: number
}

const dayMs = 86_400_000
/** Clocks of the machines that verify may be behind. */
const backdatedMs = 5 * 60_000
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/** Loaded when a certificate is to be made: a start that finds all of them good saves 60 ms and 12 MB. */
async function loadX509(): Promise<typeof X509> {
  // The library's dependency injection needs it before it is loaded.
  await import('reflect-metadata')
  return import('@peculiar/x509')
}

interface Ports {
  readonly clock: Clock
  readonly random: Random
}

function serialNumber(random: Random): string {
  const bytes = random.bytes(16)
  // Positive, and without a leading zero byte: RFC 5280, 4.1.2.2.
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes.toString('hex')
}

async function generateKeys(): Promise<{ readonly publicKey: CryptoKey; readonly privateKey: CryptoKey }> {
  return crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
}

async function keyPem(x509: typeof X509, key: CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')
}

function pem(certificate: X509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

function nameOf(x509: typeof X509, { commonName, organizations = [] }: CertificateRequest): X509.Name {
  return new x509.Name([...organizations.map((organization) => ({ O: [organization] })), { CN: [commonName] }])
}

function validity({ clock }: Ports, days: number): { readonly notBefore: Date; readonly notAfter: Date } {
  const nowMs = clock.nowMs()
  return { notBefore: new Date(nowMs - backdatedMs), notAfter: new Date(nowMs + days * dayMs) }
}

/** A new self-signed authority. */
export async function createAuthority(commonName: string, validDays: number, ports: Ports): Promise<KeyPair> {
  const x509 = await loadX509()
  const keys = await generateKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(ports.random),
    name: new x509.Name([{ CN: [commonName] }]),
    ...validity(ports, validDays),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: pem(certificate), key: `${await keyPem(x509, keys.privateKey)}\n` }
}

/** A certificate and its new key, signed by `authority`. */
export async function issue(authority: KeyPair, request: CertificateRequest, ports: Ports): Promise<KeyPair> {
  const x509 = await loadX509()
  const keys = await generateKeys()
  const issuer = new x509.X509Certificate(authority.certificate)
  const signingKey = await crypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(authority.key), algorithm, false, ['sign'])
  const usages = {
    server: [x509.ExtendedKeyUsage.serverAuth],
    client: [x509.ExtendedKeyUsage.clientAuth],
    both: [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
  }[request.usage]
  const names = (request.subjectAltNames ?? []).map((value): X509.JsonGeneralName => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }))
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(ports.random),
    subject: nameOf(x509, request).toString(),
    issuer: issuer.subject,
    ...validity(ports, request.validDays),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
    ],
  })
  return { certificate: pem(certificate), key: `${await keyPem(x509, keys.privateKey)}\n` }
}

/** Whether a certificate of ours still serves: signed by this authority, not near its end, for all the names wanted. */
export function stillGood(pair: KeyPair, authority: KeyPair, wanted: CertificateRequest, clock: Clock): boolean {
  const certificate = new X509Certificate(pair.certificate)
  const endsMs = certificate.validToDate.getTime()
  const startsMs = certificate.validFromDate.getTime()
  // Renewed in its last third: a server that restarts now and then never runs into the end.
  if (clock.nowMs() > endsMs - (endsMs - startsMs) / 3) return false
  if (!certificate.verify(new X509Certificate(authority.certificate).publicKey)) return false
  if (!certificate.checkPrivateKey(createPrivateKey(pair.key))) return false
  return (wanted.subjectAltNames ?? []).every((name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined)
}
