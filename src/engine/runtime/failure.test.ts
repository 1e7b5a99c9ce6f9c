/** Words of crun and runc, as they were heard, and what they mean. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { classify } from './failure.ts'

const heard: readonly (readonly [string, string])[] = [
  ['2026-11-23T05:52:41.000000Z: executable file `nope` not found in $PATH: No such file or directory', 'executableNotFound'],
  ['executable file `/no/such` not found: No such file or directory', 'executableNotFound'],
  ['runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH', 'executableNotFound'],
  ['runc create failed: unable to start container process: exec: "/no/such": stat /no/such: no such file or directory', 'executableNotFound'],
  ['runc create failed: unable to start container process: exec: "/tmp": is a directory', 'permissionDenied'],
  ['runc create failed: unable to start container process: exec: "/etc/passwd": permission denied', 'permissionDenied'],
  ['open executable: Operation not permitted', 'permissionDenied'],
  ['open executable: Permission denied', 'permissionDenied'],
  ['exec container process `/x`: Exec format error', 'notExecutable'],
  ['chdir: No such file or directory', 'workingDirectory'],
  ['runc create failed: unable to start container process: error during container init: error mounting "/a" to rootfs at "/b": not a directory', 'mount'],
  ['time="2026-11-23T05:52:41Z" level=error msg="something \\"odd\\" happened"', 'other'],
]

test('the words of the runtimes are classified', () => {
  for (const [words, kind] of heard) assert.equal(classify(words).kind, kind, words)
})

test('time stamps and log prefixes are taken off', () => {
  assert.equal(classify('2026-11-23T05:52:41.000000Z: open executable: Permission denied\n').runtimeMessage, 'open executable: Permission denied')
  assert.equal(classify('time="2026-11-23T05:52:41Z" level=error msg="something \\"odd\\" happened"').runtimeMessage, 'something "odd" happened')
})
