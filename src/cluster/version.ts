/** What the cluster claims to be; clients compare it with their own version. */
export const serverVersion = { major: '1', minor: '36', gitVersion: 'v1.36.0+berth' } as const
