"""Plain Python twin of the compiled event loop: one file per hardware unit, the readable form of the timing model.

The rules that the files share, all times in integer ticks:

- A word is issued in stream order. It starts at the latest of: the previous word's start + cost (PE: see `engine`), the
  ticks its two waits are met, the end of the latest earlier word of the engine whose result it reads, and the grant of
  its exclusive ports. end = start + cost + latency; words retire in order; a post is seen one semaphore latency after
  retirement.
- Exclusive ports are granted in order of request, all ports of a word together, and held for its cost.
- A transfer enters its queue one DMA start latency after its trigger started (the published figure is from semaphore to
  first byte). A DMA engine with no share in it posts as soon as the transfer is at the head of the queue. Posts of DMA
  engines are seen one semaphore latency after the share is done.
- Shared bandwidth is reserved by each descriptor share when it starts, in order of arrival, all of it at once: the DRAM
  of the chip where a tensor lies, and every link between the chips of its two sides. The share is done when the last
  of them is through.
- A run of a stage has ended when all its words have retired and all its transfers are done. The next one starts with
  semaphores at zero and idle engines.
- Inside one tick: posts of words, posts of DMA engines, finished shares, new transfers, port requests, ends of runs;
  then by slot, engine, op id.
"""
