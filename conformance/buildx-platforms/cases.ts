/** Builds for several platforms, and with attestations, as they are told to buildx. `{out}` is a folder of the case's own. */

export interface PlatformCase {
  readonly name: string
  readonly files: Readonly<Record<string, string>>
  /** Behind `docker buildx build`; the working directory is the context. */
  readonly commands: readonly (readonly string[])[]
  readonly env?: Readonly<Record<string, string>>
  /** Files and folders below `{out}`, told by their structure. */
  readonly look: readonly string[]
  /** Which steps there were is compared, too. */
  readonly toldSteps?: boolean
  /** Why Berth's answer differs from BuildKit's, where it may. */
  readonly reason?: string
}

const both = ['--platform', 'linux/amd64,linux/arm64']
const scratch = { Dockerfile: 'FROM scratch\nARG TARGETARCH\nCOPY f /for/$TARGETARCH\nLABEL made=for-$TARGETARCH\nENV A=1\nCMD ["/f"]\n', f: 'content\n' }
const oci = (...args: string[]): string[] => ['-t', 'app:1', ...args, '-o', 'type=oci,dest={out}/a.tar']
const provenance = { BUILDX_NO_DEFAULT_ATTESTATIONS: '1' }

/** SLSA's externalParameters are the whole request there already. */
const rootRequest = 'BuildKit repeats the arguments in `request.root`, by which it keeps apart frontends that call other frontends; there is one frontend here, which calls none'

export const platformCases: readonly PlatformCase[] = [
  { name: 'an index as an archive', files: scratch, env: provenance, commands: [oci(...both)], look: ['a.tar'] },
  { name: 'with the default attestations', files: scratch, commands: [oci(...both)], look: ['a.tar'] },
  { name: 'one platform with the default attestations', files: scratch, commands: [oci('--platform', 'linux/arm64')], look: ['a.tar'] },
  { name: 'provenance of all detail', files: { ...scratch, Dockerfile: `${scratch.Dockerfile}ARG SAID\n` }, commands: [oci(...both, '--provenance', 'mode=max,builder-id=https://me', '--build-arg', 'SAID=yes', '--label', 'l=m')], look: ['a.tar'], reason: rootRequest },
  { name: 'provenance of the least detail', files: { ...scratch, Dockerfile: `${scratch.Dockerfile}ARG SAID\n` }, commands: [oci(...both, '--provenance', 'mode=min', '--build-arg', 'SAID=yes', '--label', 'l=m')], look: ['a.tar'], reason: rootRequest },
  { name: 'provenance of version 0.2', files: scratch, commands: [oci('--provenance', 'mode=min,version=v0.2,reproducible=true')], look: ['a.tar'] },
  { name: 'no provenance', files: scratch, commands: [oci('--provenance', 'false')], look: ['a.tar'] },
  { name: 'attestations as images', files: scratch, commands: [['-t', 'app:1', ...both, '--provenance', 'mode=min', '-o', 'type=oci,dest={out}/a.tar,oci-artifact=false']], look: ['a.tar'] },
  { name: 'a base of a registry among the materials', files: { Dockerfile: 'FROM busybox\nLABEL a=b\n' }, commands: [oci('--provenance', 'mode=min', '--pull')], look: ['a.tar'] },
  { name: 'secrets among the parameters', files: { Dockerfile: 'FROM busybox\nRUN --mount=type=secret,id=one --mount=type=secret,id=two,required=true echo > /made\n', s: 'secret' }, commands: [oci('--provenance', 'mode=max', '--pull', '--secret', 'id=one,src=s', '--secret', 'id=two,src=s')], look: ['a.tar'] },
  { name: 'times of an epoch', files: scratch, env: { ...provenance, SOURCE_DATE_EPOCH: '86400' }, commands: [['-t', 'app:1', ...both, '-o', 'type=oci,dest={out}/a.tar,rewrite-timestamp=true'], ['-t', 'app:1', ...both, '-o', 'type=tar,dest={out}/t']], look: ['a.tar', 't'], reason: 'BuildKit notes in the annotations of a layer that it has rewritten it, which is between parts of its own' },
  { name: 'a target among the parameters', files: { Dockerfile: 'FROM scratch AS one\nCOPY f /f\nFROM one AS two\n', f: '' }, commands: [oci('--provenance', 'mode=max', '--target', 'one')], look: ['a.tar'], reason: rootRequest },
  { name: 'the same platform twice', files: scratch, env: provenance, commands: [oci('--platform', 'linux/arm64,linux/arm64/v8')], look: ['a.tar'], reason: 'an index names a platform once: BuildKit lists one manifest twice' },
  { name: 'an architecture that nobody has', files: { Dockerfile: 'FROM scratch\nCOPY f /f\n', f: '' }, env: provenance, commands: [oci('--platform', 'linux/unheard,windows/amd64')], look: ['a.tar'] },
  { name: 'annotations everywhere', files: scratch, env: provenance, commands: [oci(...both, '--annotation', 'index:a=1', '--annotation', 'manifest:b=2', '--annotation', 'manifest[linux/arm64]:c=3', '--annotation', 'manifest-descriptor:d=4', '--annotation', 'index-descriptor:e=5', '--annotation', 'f=6')], look: ['a.tar'] },
  { name: 'annotations of one platform', files: scratch, env: provenance, commands: [oci('--annotation', 'a=1', '--annotation', 'manifest-descriptor:b=2')], look: ['a.tar'] },
  { name: 'annotations of an index that is none', files: scratch, env: provenance, commands: [oci('--annotation', 'index:a=1')], look: [] },
  { name: 'media types of Docker', files: scratch, env: provenance, commands: [['-t', 'app:1', ...both, '-o', 'type=oci,dest={out}/a.tar,oci-mediatypes=false']], look: ['a.tar'] },
  { name: 'an archive of Docker', files: scratch, env: provenance, commands: [['-t', 'app:1', ...both, '-o', 'type=docker,dest={out}/a.tar']], look: [] },
  { name: 'layers that are not compressed', files: scratch, env: provenance, commands: [['-t', 'app:1', ...both, '-o', 'type=oci,dest={out}/a.tar,compression=uncompressed,force-compression=true']], look: ['a.tar'] },
  { name: 'variants and other spellings', files: scratch, env: provenance, commands: [oci('--platform', 'linux/arm64/v8,linux/arm/v7,linux/x86_64')], look: ['a.tar'] },
  { name: 'into folders', files: scratch, env: provenance, commands: [[...both, '-o', 'type=local,dest={out}/o']], look: ['o'] },
  { name: 'into folders with provenance', files: scratch, commands: [[...both, '--provenance', 'mode=min', '-o', 'type=local,dest={out}/o']], look: ['o'] },
  { name: 'into one folder', files: scratch, env: provenance, commands: [[...both, '-o', 'type=local,dest={out}/o,platform-split=false']], look: ['o'] },
  { name: 'into one folder with provenance', files: scratch, commands: [[...both, '--provenance', 'mode=min', '-o', 'type=local,dest={out}/o,platform-split=false,attestation-prefix=own.']], look: ['o'] },
  { name: 'two that would be one', files: { Dockerfile: 'FROM scratch\nCOPY f /f\n', f: '' }, env: provenance, commands: [[...both, '-o', 'type=local,dest={out}/o,platform-split=false']], look: [] },
  { name: 'a folder for the only platform', files: scratch, env: provenance, commands: [['--platform', 'linux/arm64', '-o', 'type=local,dest={out}/o,platform-split=true']], look: ['o'] },
  { name: 'into an archive of files', files: scratch, env: provenance, commands: [[...both, '-o', 'type=tar,dest={out}/t']], look: ['t'] },
  { name: 'stages of the building platform', files: { Dockerfile: 'FROM --platform=$BUILDPLATFORM busybox AS b\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDARCH TARGETSTAGE\nRUN echo $TARGETPLATFORM $TARGETOS $TARGETARCH "$TARGETVARIANT" $BUILDPLATFORM $BUILDARCH $TARGETSTAGE > /args\nFROM scratch\nCOPY --from=b /args /\n' }, env: provenance, commands: [['--platform', 'linux/amd64,linux/arm64,linux/arm/v7', '-o', 'type=local,dest={out}/o']], look: ['o'], toldSteps: true },
  { name: 'platforms in conditions and names', files: { Dockerfile: 'FROM --platform=$BUILDPLATFORM busybox AS one-amd64\nRUN echo a > /r\nFROM --platform=$BUILDPLATFORM busybox AS one-arm64\nRUN echo b > /r\nFROM one-$TARGETARCH AS chosen\nRUN cp /r /s\nFROM scratch\nCOPY --from=chosen /s /\n' }, env: provenance, commands: [[...both, '-o', 'type=local,dest={out}/o']], look: ['o'], toldSteps: true },
  { name: 'a map of one platform', files: scratch, env: provenance, commands: [[...both.slice(0, 1), 'linux/arm64', '--build-arg', 'BUILDKIT_MULTI_PLATFORM=1', '-t', 'app:1', '-o', 'type=oci,dest={out}/a.tar']], look: ['a.tar'] },
  { name: 'several outputs at once', files: scratch, env: provenance, commands: [[...both, '-o', 'type=oci,dest={out}/a.tar', '-o', 'type=local,dest={out}/o']], look: ['a.tar', 'o'] },
  { name: 'a platform that is none', files: scratch, env: provenance, commands: [['--platform', 'linux/a+b', '-o', 'type=local,dest={out}/o']], look: [] },
]
