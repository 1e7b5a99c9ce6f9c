/** What tests of builds by clients of others share: a folder to build from, a look into what was built, and waiting for what a client does. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { sleep, systemClock } from '#base/clock.ts'
import type { RealEngine } from './real-engine.fixture.ts'

/** A new folder with these files, by their paths in it. */
export function contextFolder({ root }: Pick<RealEngine, 'root'>, files: Readonly<Record<string, string | Buffer>>): string {
  const path = mkdtempSync(join(root, 'context-'))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), content)
  }
  return path
}

/** What a script prints in a container of the image. */
export async function seenIn({ client }: Pick<RealEngine, 'client'>, image: string, script: string): Promise<string> {
  return (await client.run(script, {}, { Image: image })).output.trim()
}

/** Waits for a condition; fails when it does not come about. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let round = 0; !(await holds()); round += 1) {
    assert.ok(round < 1000, `${what} did not come about`)
    await sleep(systemClock, 10)
  }
}
