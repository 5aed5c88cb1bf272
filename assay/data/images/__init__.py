"""Archives and folders of pictures as tables: which layout they have, what they say of each picture, what is odd."""
