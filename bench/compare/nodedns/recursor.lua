clearTA(".")
addTA("signed.test", "@DS_DATA@")
addNTA("plain.test")
