// Something that throws, some calls down.

interface Table {
  bottom?: string;
}

export function deep(depth: number): string {
  if (depth > 0) return deep(depth - 1);
  const table: Table | undefined = depth === 0 ? undefined : {};
  return table!.bottom!;
}
