"""Pure. Every sentence that people read, in Japanese and English: one catalog for messages, pages and explanations."""
