/** References, digests, platforms, manifests and configs: what is read, what is refused, and that nothing crashes on junk. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { digestOf, parseDigest, shortDigest } from './digest.ts'
import { layerCompression, mediaTypes, readDescriptor, writeDescriptor } from './descriptor.ts'
import { parseImageConfig } from './image-config.ts'
import { parseManifest, referencedDescriptors } from './manifest.ts'
import { parsePlatform, platformFit, platformText } from './platform.ts'
import { canonicalReference, familiarReference, parseReference, withDefaultTag } from './reference.ts'

const digest = digestOf('x')
const refused = (error: unknown): boolean => isFault(error, 'invalidArgument')

test('names are read as Docker reads them', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['busybox', 'docker.io/library/busybox:latest', 'busybox:latest'],
    ['team/app:1', 'docker.io/team/app:1', 'team/app:1'],
    ['docker.io/busybox', 'docker.io/library/busybox:latest', 'busybox:latest'],
    ['index.docker.io/team/app', 'docker.io/team/app:latest', 'team/app:latest'],
    ['localhost/x', 'localhost/x:latest', 'localhost/x:latest'],
    ['localhost:5000/x/y:tag', 'localhost:5000/x/y:tag', 'localhost:5000/x/y:tag'],
    ['registry.example.com/a__b/c-d.e:v1', 'registry.example.com/a__b/c-d.e:v1', 'registry.example.com/a__b/c-d.e:v1'],
    [`x@${digest}`, `docker.io/library/x@${digest}`, `x@${digest}`],
    [`h:1/x:t@${digest}`, `h:1/x:t@${digest}`, `h:1/x:t@${digest}`],
    ['[::1]:5000/x', '[::1]:5000/x:latest', '[::1]:5000/x:latest'],
  ]
  for (const [text, canonical, familiar] of cases) {
    const reference = withDefaultTag(parseReference(text))
    assert.equal(canonicalReference(reference), canonical)
    assert.equal(familiarReference(reference), familiar)
  }
})

test('names that are none are refused with the reason', () => {
  for (const text of ['', 'Busybox', 'a//b', '-a', 'a:', 'a@sha256:12', 'a b', 'http://x/y', 'a/b:c/d', `${'a/'.repeat(200)}a`, 'f'.repeat(64), 'x:-t']) {
    assert.throws(() => parseReference(text), refused, text)
  }
  assert.throws(() => parseReference('team/App'), /repository name must be lowercase/)
})

test('any text is either refused or round trips through its canonical and familiar forms', () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9.:/@_-]{0,40}$/))
  fc.assert(
    fc.property(text, (name) => {
      let reference
      try {
        reference = parseReference(name)
      } catch (error) {
        assert.ok(refused(error))
        return
      }
      assert.deepEqual(parseReference(canonicalReference(reference)), reference)
      assert.deepEqual(parseReference(familiarReference(reference)), reference)
    }),
    { numRuns: 2000 },
  )
})

test('digests are checked before they can name a file', () => {
  assert.equal(shortDigest(digest).length, 12)
  for (const text of ['sha256:../../etc/passwd', 'sha256:ABC', 'md5:0', `sha256:${'a'.repeat(63)}`, 3]) assert.throws(() => parseDigest(text), refused)
})

test('platforms have one spelling, and a machine takes what it can run', () => {
  assert.equal(platformText(parsePlatform('linux/aarch64/v8')), 'linux/arm64')
  assert.equal(platformText(parsePlatform('x86_64')), 'linux/amd64')
  assert.throws(() => parsePlatform('linux/amd64,test'), /^Fault: "amd64,test" is an invalid component of "linux\/amd64,test": platform specifier component must match/)
  assert.throws(() => parsePlatform('a/b/c/d'), /"a\/b\/c\/d": cannot parse platform specifier: invalid argument$/)
  const amd64 = parsePlatform('linux/amd64')
  assert.equal(platformFit(amd64, parsePlatform('linux/arm64')), 0)
  assert.ok(platformFit(parsePlatform('linux/arm/v7'), parsePlatform('linux/arm/v6')) > 0)
  assert.equal(platformFit(parsePlatform('linux/arm/v6'), parsePlatform('linux/arm/v7')), 0)
  assert.throws(() => parsePlatform('linux/amd64/v1/x'), refused)
})

const descriptor = { mediaType: mediaTypes.ociLayerGzip, digest, size: 3 }

test('image manifests and indexes of both families are read', () => {
  const image = parseManifest(Buffer.from(JSON.stringify({ schemaVersion: 2, config: descriptor, layers: [descriptor] })), mediaTypes.ociManifest)
  assert.equal(referencedDescriptors(image).length, 2)
  const index = parseManifest(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.dockerManifestList, manifests: [{ ...descriptor, platform: { os: 'linux', architecture: 'amd64' } }] })))
  assert.equal(index.kind, 'index')
  assert.equal(layerCompression(mediaTypes.dockerLayerGzip), 'gzip')
  const written = writeDescriptor(readDescriptor({ ...descriptor, platform: { os: 'windows', architecture: 'amd64', 'os.version': '10' } }, 'x'))
  assert.deepEqual(written['platform'], { os: 'windows', architecture: 'amd64', 'os.version': '10' })
})

test('manifests that lie are refused by the member that is wrong', () => {
  const bad: readonly (readonly [unknown, RegExp])[] = [
    [{ schemaVersion: 1 }, /schemaVersion/],
    [{ schemaVersion: 2, mediaType: 'text/plain' }, /mediaType/],
    [{ schemaVersion: 2, mediaType: mediaTypes.ociIndex, config: descriptor, layers: [] }, /index/],
    [{ schemaVersion: 2, config: descriptor, layers: [{ ...descriptor, size: -1 }] }, /layers\[0\]\.size/],
    [{ schemaVersion: 2, config: { ...descriptor, digest: 'sha256:../x' }, layers: [] }, /config\.digest/],
    [[], /object/],
  ]
  for (const [value, message] of bad) assert.throws(() => parseManifest(Buffer.from(JSON.stringify(value))), message)
})

test('a config keeps the members Berth does not know, and bad ones are named', () => {
  const config = parseImageConfig(Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [digest] }, config: { Env: ['A=1'] }, 'moby.x': 1 })))
  assert.equal(JSON.parse(JSON.stringify(config))['moby.x'], 1)
  assert.throws(() => parseImageConfig(Buffer.from('{"architecture":"a","os":"b","rootfs":{"type":"layers","diff_ids":["x"]}}')), /diff_ids\[0\]/)
  assert.throws(() => parseImageConfig(Buffer.from(JSON.stringify({ architecture: 'a', os: 'b', rootfs: { type: 'layers', diff_ids: [] }, history: [{}] }))), /claim a layer/)
})

test('junk never crashes the parsers', () => {
  const json = fc.json().map((text) => Buffer.from(text))
  fc.assert(
    fc.property(fc.oneof(json, fc.uint8Array().map((bytes) => Buffer.from(bytes)), fc.record({ schemaVersion: fc.constant(2), config: fc.jsonValue(), layers: fc.jsonValue() }).map((value) => Buffer.from(JSON.stringify(value)))), (bytes) => {
      for (const parse of [parseManifest, parseImageConfig]) {
        try {
          parse(bytes)
        } catch (error) {
          assert.ok(refused(error), String(error))
        }
      }
    }),
    { numRuns: 1000 },
  )
})
