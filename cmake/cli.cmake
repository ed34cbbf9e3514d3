# The command line, and what comes with it: completions and manual pages, which
# the program prints itself, so that they know what it knows.

find_package(CURL 7.85 REQUIRED)
peal_add_programs(cmd INSTALL)
target_link_libraries(cmd_peal PRIVATE OpenSSL::SSL CURL::libcurl)

if(CMAKE_CROSSCOMPILING)
    return()
endif()

set(folder ${PROJECT_BINARY_DIR}/completion)
file(MAKE_DIRECTORY ${folder})

# peal_add_completion(<shell> <file> <destination>)
function(peal_add_completion shell file destination)
    add_custom_command(
        OUTPUT ${folder}/${file}
        COMMAND cmd_peal completion ${shell} > ${folder}/${file}
        DEPENDS cmd_peal
        COMMENT "Writing the completion for ${shell}"
        VERBATIM)
    add_custom_target(completion_${shell} ALL DEPENDS ${folder}/${file})
    install(FILES ${folder}/${file} DESTINATION ${destination})
endfunction()

peal_add_completion(bash peal
    ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
peal_add_completion(zsh _peal ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
peal_add_completion(fish peal.fish
    ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

# A page for each man/<page>.mdoc, which has what the program does not know.
set(folder ${PROJECT_BINARY_DIR}/man)
file(MAKE_DIRECTORY ${folder})
file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/man/*.mdoc)
foreach(source IN LISTS sources)
    cmake_path(GET source STEM page)
    string(REGEX REPLACE "^peal-?" "" command ${page})
    add_custom_command(
        OUTPUT ${folder}/${page}.1
        COMMAND cmd_peal help ${command} --manual ${source}
                > ${folder}/${page}.1
        DEPENDS cmd_peal ${source}
        COMMENT "Writing ${page}(1)"
        VERBATIM)
    list(APPEND pages ${folder}/${page}.1)
endforeach()
add_custom_target(manual ALL DEPENDS ${pages})
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
