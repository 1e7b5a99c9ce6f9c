/** Detach keys typed in pieces: what the process gets, and when the client leaves. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { detachFilter, parseDetachKeys } from './detach-keys.ts'

/** What the process gets of pieces typed one after another, `!` where the client left. */
function typed(keys: string, ...pieces: readonly string[]): string {
  const filter = detachFilter(Buffer.from(keys))
  return pieces.map((piece) => filter(Buffer.from(piece))).map(({ bytes, detached }) => `${bytes.toString()}${detached ? '!' : ''}`).join('|')
}

test('detach keys are held back until they are complete, and given on when they turn out to be others', () => {
  assert.equal(typed('pq', 'ab'), 'ab')
  assert.equal(typed('pq', 'apq'), 'a!')
  assert.equal(typed('pq', 'p', 'q'), '|!')
  assert.equal(typed('pq', 'p', 'x'), '|px')
  assert.equal(typed('pq', 'pp', 'q'), 'p|!')
  assert.equal(typed('aab', 'aaa', 'b'), 'a|!')
  assert.equal(typed('abab', 'aba', 'c'), '|abac')
})

test('detach keys are read as Docker writes them', () => {
  assert.deepEqual(parseDetachKeys('ctrl-a,x'), Buffer.from([1, 120]))
  assert.deepEqual(parseDetachKeys(''), Buffer.from([16, 17]))
  assert.equal(parseDetachKeys('ctrl-'), undefined)
})
