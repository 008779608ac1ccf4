// What can go wrong in a handler besides its own verdict.

export function trouble(wanted: string | undefined): void {
  if (wanted === "throw") throw new Error("boom");
  if (wanted === "spin") for (;;);
  if (wanted === "memory") for (const kept: Uint8Array[] = []; ; ) kept.push(new Uint8Array(1024 * 1024).fill(1));
}
