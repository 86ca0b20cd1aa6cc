"""The text form of words and descriptors, shared by assembler and disassembler. The grammar is docs/assembly.md."""
