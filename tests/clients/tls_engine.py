def run(s,r): pass
