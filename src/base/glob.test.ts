/** Patterns match what they say, and take no longer for being hostile. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Glob } from './glob.ts'
import { PathPatterns } from './path-patterns.ts'

const path = { classes: true, globstar: true }

test('wildcards stay within a path element; ** crosses them', () => {
  const matches = (pattern: string, text: string): boolean => new Glob(pattern, path).matches(text)
  for (const [pattern, text] of [['a*', 'abc'], ['?', 'x'], ['[a-c]x', 'bx'], ['[^a]x', 'bx'], ['\\*', '*'], ['**/x', 'x'], ['**/x', 'a/b/x'], ['a/**', 'a/b/c'], ['a/**/c', 'a/c'], ['a/**/c', 'a/b/b/c'], ['a+(b', 'a+(b'], ['**', 'a/b'], ['[]]', ']'], ['[a-]', '-']] as const) {
    assert.ok(matches(pattern, text), `${pattern} ${text}`)
  }
  for (const [pattern, text] of [['a*', 'a/b'], ['?', '/'], ['[a-c]x', 'dx'], ['[^a]x', '/x'], ['a/**', 'a'], ['**/x', 'ax'], ['A', 'a'], ['[a', '[a'], ['a', 'ab']] as const) {
    assert.ok(!matches(pattern, text), `${pattern} ${text}`)
  }
})

test('a pattern without wildcards matches itself alone', () => {
  fc.assert(fc.property(fc.string(), fc.string(), (text, other) => {
    const glob = new Glob(text.replace(/[*?[\\]/g, '\\$&'), path)
    assert.ok(glob.matches(text))
    assert.equal(glob.matches(other), text === other)
  }))
})

test('a hostile pattern takes no longer than pattern times text', () => {
  const stars = new Glob(`${'*a'.repeat(100)}b`, path)
  assert.equal(stars.matches('a'.repeat(4000)), false)
  assert.equal(new Glob(`${'**/'.repeat(100)}b`, path).matches('a/'.repeat(1000)), false)
})

test('the last pattern that says something of a path decides, also for what is in a folder', () => {
  const patterns = new PathPatterns(['*', '!keep', 'keep/not', '/rooted/', '!**/deep.md', ' '])
  assert.deepEqual(['a', 'keep', 'keep/x', 'keep/not', 'keep/not/y', 'rooted/x', 'a/b/deep.md'].map((each) => patterns.matches(each)), [true, false, false, true, true, true, false])
  assert.ok(patterns.hasExceptions)
  assert.ok(new PathPatterns([]).isEmpty)
})
