/**
 * Retention: which tags and untagged manifests of a repository go, by rules of the operator. Without rules everything stays. A
 * manifest that a tag names, that an index which stays points to, or that refers to a subject which stays, is never taken.
 */
import { matchesGlob } from 'node:path'
import type { Digest } from '#oci/digest.ts'
import type { DatedLink } from '../repositories.ts'
import type { LinkParts } from './links.ts'
import { referencesOf } from './links.ts'

export interface RetentionRule {
  /** Glob over names of repositories, such as `team/**`; the first rule that matches holds. */
  readonly repositories: string
  /** Glob over tags; others stay. Default: all. */
  readonly tags?: string
  /** So many tags pushed last stay. */
  readonly keepNewest?: number
  /** Tags pushed within this time stay, milliseconds. With `keepNewest`, what either keeps stays. */
  readonly keepForMs?: number
  /** Manifests without a tag go after this time, milliseconds. Default: never. */
  readonly untaggedForMs?: number
}

export interface DatedTag {
  readonly tag: string
  readonly pushedAtMs: number
}

export function ruleFor(rules: readonly RetentionRule[], repository: string): RetentionRule | undefined {
  return rules.find((rule) => matchesGlob(repository, rule.repositories))
}

/** The tags that a rule lets go. */
export function expiredTags(rule: RetentionRule, tags: readonly DatedTag[], nowMs: number): readonly string[] {
  if (rule.keepNewest === undefined && rule.keepForMs === undefined) return []
  return tags
    .filter(({ tag }) => matchesGlob(tag, rule.tags ?? '*'))
    .toSorted((left, right) => right.pushedAtMs - left.pushedAtMs)
    .filter(({ pushedAtMs }, index) => index >= (rule.keepNewest ?? 0) && pushedAtMs < nowMs - (rule.keepForMs ?? 0))
    .map(({ tag }) => tag)
}

/** Applies the rules to one repository and answers how many tags and manifests went. */
export async function applyRetention(parts: LinkParts, rule: RetentionRule, repository: string, nowMs: number): Promise<{ readonly tags: number; readonly manifests: number }> {
  const tags = await removeTags(parts, rule, repository, nowMs)
  const manifests = rule.untaggedForMs === undefined ? 0 : await removeUntagged(parts, repository, nowMs - rule.untaggedForMs)
  return { tags, manifests }
}

async function removeTags({ repositories }: LinkParts, rule: RetentionRule, repository: string, nowMs: number): Promise<number> {
  const versions = new Map<string, string>()
  const dated: DatedTag[] = []
  for (const tag of await repositories.tags(repository)) {
    const stat = await repositories.tagStat(repository, tag)
    if (stat === undefined) continue
    versions.set(tag, stat.version)
    dated.push({ tag, pushedAtMs: stat.writtenAtMs })
  }
  let removed = 0
  for (const tag of expiredTags(rule, dated, nowMs)) if (await repositories.untag(repository, tag, { version: versions.get(tag) ?? '' })) removed += 1
  return removed
}

async function removeUntagged(parts: LinkParts, repository: string, writtenBeforeMs: number): Promise<number> {
  const { repositories } = parts
  const manifests = await Array.fromAsync(repositories.manifestLinks(repository))
  const byDigest = new Map<Digest, DatedLink>(manifests.map((link) => [link.digest, link]))
  const kept = new Set<Digest>()
  const keep = async (digest: Digest): Promise<void> => {
    if (kept.has(digest) || !byDigest.has(digest)) return
    kept.add(digest)
    for (const referenced of await referencesOf(parts, repository, digest)) await keep(referenced)
    for (const referrer of await repositories.referrers(repository, digest)) await keep(referrer)
  }
  // The tags after the manifests: who tags an old manifest has made its link young before.
  for (const tag of await repositories.tags(repository)) {
    const digest = await repositories.tag(repository, tag)
    if (digest !== undefined) await keep(digest)
  }
  for (const { digest, writtenAtMs } of manifests) if (writtenAtMs >= writtenBeforeMs) await keep(digest)
  let removed = 0
  for (const { digest, version } of manifests) if (!kept.has(digest) && (await repositories.unlinkManifest(repository, digest, { version }))) removed += 1
  return removed
}
